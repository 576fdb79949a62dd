package need

import (
	"runtime"
	"testing"
)

// probe is a test that notes how it ended.
type probe struct {
	testing.TB
	ended string
}

func (p *probe) Helper() {}

func (p *probe) Skipf(string, ...any) {
	p.ended = "skipped"
	runtime.Goexit()
}

func (p *probe) Fatalf(string, ...any) {
	p.ended = "failed"
	runtime.Goexit()
}

// run calls Command as a test of its own.
func run(t *testing.T, name string) (path, ended string) {
	t.Helper()
	p := &probe{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = Command(p, name)
	}()
	<-done
	return path, p.ended
}

func TestCommand(t *testing.T) { // not parallel: it sets the environment
	for _, c := range []struct{ name, ci, ended string }{
		{"go", "", ""},
		{"go", "1", ""},
		{"no-such-program", "", "skipped"},
		{"no-such-program", "0", "skipped"},
		{"no-such-program", "1", "failed"},
	} {
		t.Setenv(ciVariable, c.ci)
		path, ended := run(t, c.name)
		if ended != c.ended || (path == "") != (c.ended != "") {
			t.Errorf("Command(%q) with %s=%q: path %q, %q, want %q", c.name, ciVariable, c.ci, path, ended, c.ended)
		}
	}
}
