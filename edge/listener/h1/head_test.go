package h1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHead looks at a head as whoever answers before net/http would.
func TestHead(t *testing.T) {
	t.Parallel()
	const raw = "\r\nGET /a?b HTTP/1.1\r\nHost: www.example\r\nX-Empty:\r\naccept: \t a, b \t\r\n\r\nrest"
	limits := &Limits{TargetBytes: 100, FieldBytes: 1000, Fields: 10}
	for cut := range len(raw) {
		var h Head
		end, reason := h.parse([]byte(raw[:cut]), limits)
		if whole := len(raw) - len("rest"); end > 0 != (cut >= whole) || reason != ReasonNone {
			t.Fatalf("the first %d octets: end %d, reason %q", cut, end, reason)
		}
		if end == 0 {
			// What has been seen must not have to be seen again.
			end, reason = h.parse([]byte(raw), limits)
		}
		if end != len(raw)-len("rest") || reason != ReasonNone {
			t.Fatalf("after %d octets: end %d, reason %q", cut, end, reason)
		}
		got := []string{fmt.Sprintf("%s %s %s 1.%d %d", h.Method(), h.Target(), h.Host(), h.Minor(), h.Length())}
		for i := range h.Fields() {
			name, value := h.Field(i)
			got = append(got, fmt.Sprintf("%s=%q", name, value))
		}
		want := []string{"GET /a?b www.example 1.1 0", `Host="www.example"`, `X-Empty=""`, `accept="a, b"`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("after %d octets (-want +got):\n%s", cut, diff)
		}
	}
}

// TestLimitsAreExact goes to each limit and one step beyond, in one piece and in many.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	limits := &Limits{TargetBytes: 20, FieldBytes: 100, Fields: 3}
	head := func(target, fields int, pad int) string {
		return "GET /" + strings.Repeat("t", target-1) + " HTTP/1.1\r\nHost: a\r\n" +
			strings.Repeat("X:\r\n", fields-1) + strings.Repeat("p", pad) + ":\r\n\r\n"
	}
	bare := len(head(1, 1, 1)) - 1
	for _, c := range []struct {
		name, raw string
		want      Reason
	}{
		{"target", head(20, 1, 1), ReasonNone},
		{"target and one", head(21, 1, 1), ReasonTargetLength},
		{"target and many", head(90, 1, 1), ReasonTargetLength},
		{"target without end", "GET /" + strings.Repeat("t", 90), ReasonTargetLength},
		{"fields", head(1, 2, 1), ReasonNone},
		{"fields and one", head(1, 3, 1), ReasonFields},
		{"octets", head(1, 1, 100-bare), ReasonNone},
		{"octets and one", head(1, 1, 101-bare), ReasonFieldBytes},
		{"octets without end", head(1, 1, 200), ReasonFieldBytes},
	} {
		var whole, piecemeal Head
		_, got := whole.parse([]byte(c.raw), limits)
		inPieces := ReasonNone
		for n := 1; n <= len(c.raw) && inPieces == ReasonNone; n++ {
			_, inPieces = piecemeal.parse([]byte(c.raw[:n]), limits)
		}
		if got != c.want || inPieces != c.want {
			t.Errorf("%s: %q and in pieces %q, want %q", c.name, got, inPieces, c.want)
		}
	}
}
