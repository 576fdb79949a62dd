package main

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
)

// naiveCache is how not to do it: it passes on whatever it gets, and keeps what
// comes back under host and path.
type naiveCache struct {
	origin *url.URL
	mu     sync.Mutex
	kept   map[string]naiveAnswer
}

type naiveAnswer struct {
	status int
	header http.Header
	body   []byte
}

// ServeHTTP implements [http.Handler].
func (n *naiveCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Host + r.URL.Path
	n.mu.Lock()
	answer, hit := n.kept[key]
	n.mu.Unlock()
	if !hit {
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host = "", n.origin.Scheme, n.origin.Host
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		answer = naiveAnswer{status: resp.StatusCode, header: resp.Header}
		answer.body, _ = io.ReadAll(resp.Body)
		n.mu.Lock()
		n.kept[key] = answer
		n.mu.Unlock()
	}
	maps.Copy(w.Header(), answer.header)
	w.Header().Del("Content-Length")
	if w.Header().Set("X-Cache", "MISS"); hit {
		w.Header().Set("X-Cache", "HIT")
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body)
}

// A cache without any of the defences fails most of the cases: they can fail.
func TestPoisonHurtsANaiveCache(t *testing.T) {
	t.Parallel()
	origin := &weakOrigin{}
	behind := httptest.NewServer(origin)
	t.Cleanup(behind.Close)
	to, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(&naiveCache{origin: to, kept: map[string]naiveAnswer{}})
	t.Cleanup(front.Close)
	rig := &poisonRig{origin: origin, dial: func() (net.Conn, error) { return net.Dial("tcp", front.Listener.Addr().String()) }}
	ran, hurt := 0, 0
	for _, c := range loadPoison(t, "") {
		if c.h2 != nil || c.alone {
			continue
		}
		if ran++; len(c.run(t, rig)) > 0 {
			hurt++
		}
	}
	t.Logf("%d of %d cases hurt", hurt, ran)
	if hurt*4 < ran*3 {
		t.Errorf("%d of %d cases hurt a naive cache, want three quarters: the cases show too little", hurt, ran)
	}
}
