package h1

import (
	"net/http"
	"testing"
)

func TestReasons(t *testing.T) {
	t.Parallel()
	names, texts := map[string]Reason{}, map[string]Reason{}
	for r := ReasonNone; r <= NumReasons; r++ {
		if other, twice := names[r.String()]; twice || r.String() == "" {
			t.Errorf("reasons %d and %d are both called %q", r, other, r)
		}
		names[r.String()] = r
		if r == ReasonNone || r == NumReasons {
			continue
		}
		if other, twice := texts[r.Text()]; twice || r.Text() == "" {
			t.Errorf("reasons %q and %q both say %q", r, other, r.Text())
		}
		texts[r.Text()] = r
		if r.Status() < 400 || http.StatusText(r.Status()) == "" {
			t.Errorf("%q has status %d", r, r.Status())
		}
	}
	var c Counts
	c.Add(NumReasons) // out of range: nothing
	c.Add(ReasonHost)
	if c.Count(ReasonHost) != 1 || c.Count(NumReasons) != 0 {
		t.Errorf("Counts = %d, %d; want 1, 0", c.Count(ReasonHost), c.Count(NumReasons))
	}
}
