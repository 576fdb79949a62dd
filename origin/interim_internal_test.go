package origin

import (
	"net/http"
	"net/textproto"
	"testing"
)

// TestInterimAfterEnd: a transport that is late with an interim response tells
// nobody. That depends on who runs when, so it is tried on the parts.
func TestInterimAfterEnd(t *testing.T) {
	t.Parallel()
	told := 0
	x := &exchange{upstream: &upstream{url: "http://up"}, cancel: func(error) {}}
	x.interim.tell = func(int, http.Header) { told++ }
	for range 2 {
		if err := x.gotInterim(http.StatusEarlyHints, textproto.MIMEHeader{"Link": {"</a>"}}); err != nil {
			t.Error(err)
		}
		x.interim.end()
	}
	if told != 1 {
		t.Errorf("told %d times, want once and not after the end", told)
	}
}
