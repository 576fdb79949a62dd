package purge

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// TestFastlyURLAsSent: the URL in a path is read as a request for it would be, however
// its characters are spelled.
func TestFastlyURLAsSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sent, want string }{
		{"/a%2Fb", "/a%2Fb"},
		{"/a%2Fb|c", "/a%2Fb%7Cc"},
		{`/a%2Fb"c`, "/a%2Fb%22c"},
		{"/a%2Fé", "/a%2F%C3%A9"},
		{"/a%2Fb|c?x=%7C|", "/a%2Fb%7Cc?x=%7C|"},
		{"/a#b", "/a%23b"},
	} {
		r := newRig(t)
		answer := rawPost(t, r.Public(), "/purge/www.example.com"+c.sent, secretAll)
		if got, want := r.struck(), []string{siteWWW + " url " + siteWWW + c.want}; !slices.Equal(got, want) {
			t.Errorf("%s: struck %q, want %q; answer %.100q", c.sent, got, want, answer)
		}
	}
}

// rawPost sends a request whose target no client library has touched.
func rawPost(t *testing.T, h http.Handler, target, token string) string {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nFastly-Key: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", target, token)
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestSentPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, want string }{
		{"/a%2Fb?c/d", "/a%2Fb"}, {"//a", "//a"}, {"https://x/a|b?c", "/a|b"}, {"https://x?a/b", "/"}, {"*", "/"}, {"", "/decoded"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/decoded", http.NoBody)
		r.RequestURI = c.target
		if got := sentPath(r); got != c.want {
			t.Errorf("target %q: path %q, want %q", c.target, got, c.want)
		}
	}
}

// changing are names under which an order comes to something else each time.
type changing struct {
	testNames
	class string
}

func (n *changing) Forms(_, _, _, _, _ string) (queries, classes []string) {
	return nil, []string{n.class}
}

// TestRepeatComesToSomethingElse: an order is the same when it is repeated, whatever
// the site has learned since.
func TestRepeatComesToSomethingElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	names := &changing{class: "before"}
	r.options.Names = names
	order := Order{Site: siteWWW, URLs: []string{"/a"}, Key: "k"}
	r.log.lose = true
	if _, err := r.Purge(t.Context(), order); err == nil {
		t.Fatal("a log that ran out of time: no error")
	}
	names.class = "after"
	if _, err := r.Purge(t.Context(), order); err != nil {
		t.Errorf("the same order again: %v", err)
	}
	for _, other := range []Order{
		{URLs: []string{"/b"}},
		{URLs: []string{"/a"}, Soft: true},
		{URLs: []string{"/a"}, IgnoreQuery: true},
		{Prefixes: []string{"/a"}},
		{Tags: []string{"/a"}},
		{Everything: true},
		{URLs: []string{"/a"}, Tags: []string{"b"}},
		{target: &target{host: siteWWW, path: "/a"}},
	} {
		other.Site, other.Key = siteWWW, "k"
		var refusal *Refusal
		if _, err := r.Purge(t.Context(), other); !errors.As(err, &refusal) || refusal.Status != http.StatusConflict {
			t.Errorf("%+v with the key of another order: %v, want a conflict", other, err)
		}
	}
}

// TestHistoryOfFloors: what stands for forgotten entries is nobody's order.
func TestHistoryOfFloors(t *testing.T) {
	t.Parallel()
	h := newHistory(10, "e")
	if err := h.logged(Entry{Seq: 7, Kind: KindEverything, At: time.Time{}}); err != nil {
		t.Fatal(err)
	}
	if err := h.logged(Entry{Seq: 8, ID: idOf(1), Kind: KindEverything}); err != nil {
		t.Fatal(err)
	}
	page, _ := h.page(func(string) bool { return true }, ID{}, 10)
	if len(page) != 1 || page[0].ID != idOf(1).String() || h.seq != 8 {
		t.Errorf("up to %d, history %+v; want one order, up to 8", h.seq, page)
	}
}
