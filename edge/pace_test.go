package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/httpcache"
	"perigee/internal/testorigin"
	"perigee/origin"
)

// stall asks for target and reads nothing of the answer.
func (r *rig) stall(target string) net.Conn {
	conn := r.dial()
	r.ask(conn, "GET "+target+" HTTP/1.1\r\nHost: www.test\r\n\r\n")
	return conn
}

// A client that stands still is waited for, for as long as it could be taking a
// piece slowly, and then cut.
func TestStalledClientIsCut(t *testing.T) {
	for name, query := range map[string]string{"stored": "?cc=max-age%3D600", "passed on": "?cc=private"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
				conn := r.stall("/size/1000000" + query)
				defer conn.Close()
				time.Sleep(clientPatience)
				if n := r.handler.InFlight(); n != 1 {
					t.Errorf("%d requests in flight after %v, want 1: the client may be slow", n, clientPatience)
				}
				time.Sleep(80 * time.Second) // more than a part takes at the slowest rate
				if n := r.handler.InFlight(); n != 0 {
					t.Fatalf("%d requests in flight, want 0: the client takes nothing", n)
				}
				if record := r.last(); !record.Aborted || record.Reason != "client-left" || record.Status != 200 {
					t.Errorf("record %+v", record)
				}
			})
		})
	}
}

// At twice the slowest pace that is allowed, a client gets everything, however long
// that takes.
func TestSlowClientGetsEverything(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		const size = 1_000_000
		conn := r.stall("/size/1000000?cc=max-age%3D600")
		defer conn.Close()
		response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		slow := &slowReader{response.Body}
		if err := compare(slow, testorigin.Reader(testorigin.Seed("/size/1000000", ""), 0, size)); err != nil {
			t.Error(err)
		}
	})
}

// slowReader takes 2 KiB a second.
type slowReader struct{ r io.Reader }

func (s *slowReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	time.Sleep(time.Duration(n) * time.Second / (2 * rigRate))
	return n, err
}

// The deadline of a response does not outlive it: the connection may rest before
// its next request.
func TestDeadlineEndsWithTheResponse(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		conn := r.dial()
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for _, target := range []string{ // a small response sets no deadline of its own
			"/size/200000?cc=max-age%3D600", "/size/10", "/size/200000?cc=max-age%3D600", "/size/10", "/size/200000?cc=private", "/size/10",
		} {
			r.ask(conn, "GET "+target+" HTTP/1.1\r\nHost: www.test\r\n\r\n")
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatalf("%s: %v", target, err)
			}
			if n, err := io.Copy(io.Discard, response.Body); n != response.ContentLength || err != nil {
				t.Errorf("%s: %d bytes, %v", target, n, err)
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

// Nor may a protocol's engine be relied on to take it away: the handler leaves every
// response without one, stored or passed on.
func TestHandlerTakesItsDeadlineBack(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, target := range []string{"/size/100000?cc=max-age%3D60", "/size/100000?cc=private"} {
			w := &clocked{ResponseRecorder: httptest.NewRecorder()}
			r.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://www.test"+target, nil))
			if n := len(w.left); n < 2 || w.left[n-1] != 0 || w.Body.Len() != 100000 {
				t.Errorf("%s: deadlines %v for %d bytes, want one at least, and none in the end", target, w.left, w.Body.Len())
			}
		}
	})
}

// clocked is a ResponseWriter that notes the deadlines it is given.
type clocked struct {
	*httptest.ResponseRecorder
	left []time.Duration // of each deadline when it was set; 0 = taken away
}

func (w *clocked) SetReadDeadline(time.Time) error { return nil }

func (w *clocked) SetWriteDeadline(t time.Time) error {
	left := time.Duration(0)
	if !t.IsZero() {
		left = time.Until(t)
	}
	w.left = append(w.left, left)
	return nil
}

// What fits into the buffers on the way needs no deadline, so a small hit costs no
// timer. What is larger gets one, and another as it goes on; not one for each piece.
func TestPaceByPiece(t *testing.T) {
	t.Parallel()
	const patience, second = clientPatience + paceRest, time.Second
	tests := []struct {
		name   string
		rate   int64
		pieces []int
		pause  time.Duration // after each piece
		want   []time.Duration
	}{
		{"nothing", 1 << 10, nil, 0, nil},
		{"a small body", 1 << 10, []int{16 << 10}, 0, nil},
		{"a larger one", 1 << 10, []int{16<<10 + 1}, 0, []time.Duration{patience + 64*second, 0}},
		{"a whole chunk", 1 << 10, []int{256 << 10}, 0, []time.Duration{patience + 64*second, 0}},
		{"a faster rate", 64 << 10, []int{256 << 10}, 0, []time.Duration{patience + second, 0}},
		{"no rate", 0, []int{256 << 10, 256 << 10}, 0, nil},
		{"many pieces at once", 1 << 10, []int{1, 1, 1, 1}, 0, []time.Duration{patience + 64*second, 0}},
		{"many pieces one by one", 1 << 10, []int{1, 1, 1}, paceRest, []time.Duration{patience + 64*second, patience + 64*second, 0}},
	}
	synctest.Test(t, func(t *testing.T) {
		for _, test := range tests {
			w := &clocked{ResponseRecorder: httptest.NewRecorder()}
			x := &exchange{w: w, limits: &Limits{MinRate: test.rate}}
			total := 0
			for _, n := range test.pieces {
				if err := x.send(make([]byte, n)); err != nil {
					t.Errorf("%s: %v", test.name, err)
				}
				total += n
				time.Sleep(test.pause)
			}
			x.unpace()
			x.unpace() // once is enough
			if diff := cmp.Diff(test.want, w.left); diff != "" {
				t.Errorf("%s: deadlines (-want +got):\n%s", test.name, diff)
			}
			if x.record.BodyBytes != int64(total) || w.Body.Len() != total {
				t.Errorf("%s: %d bytes sent, %d recorded, want %d", test.name, w.Body.Len(), x.record.BodyBytes, total)
			}
		}
	})
}

// A request body that trickles holds a connection to the upstream as well: it is
// refused, and what came is not taken for a whole one.
func TestSlowUploadIsRefused(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for _, test := range []struct {
			name  string
			pause time.Duration // between pieces of 1 KiB, of which there are 30
			want  int
		}{
			{"at the rate", time.Second, 200},
			{"too slow", 2 * time.Second, 408},
			{"never", time.Hour, 408},
		} {
			conn := r.dial()
			r.ask(conn, "POST /sum HTTP/1.1\r\nHost: www.test\r\nContent-Length: 30720\r\n\r\n")
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for range 30 {
					time.Sleep(test.pause)
					if _, err := conn.Write(make([]byte, 1024)); err != nil {
						return
					}
				}
			}()
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			// What comes on a connection after half a body is no request.
			if slow := test.want == 408; response.StatusCode != test.want || response.Close != slow || slow && r.last().Reason != "slow-upload" {
				t.Errorf("%s: %d, closed %v, record %+v; want %d", test.name, response.StatusCode, response.Close, r.last(), test.want)
			}
			_ = conn.Close()
			<-sent
		}
	})
}

// The time that a slow upstream takes to read is not the client's.
func TestSlowUpstreamIsNoSlowUpload(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		r.origin.Script("/x", testorigin.Answer{Handler: func(w http.ResponseWriter, q *http.Request) {
			time.Sleep(20 * time.Second)
			n, err := io.Copy(io.Discard, q.Body)
			_, _ = fmt.Fprint(w, n, err)
		}})
		if a := r.send("POST", "/x", testorigin.Reader(1, 0, 300_000), 300_000); a.body != "300000 <nil>" {
			t.Errorf("%d, %q; want all of it", a.StatusCode, a.body)
		}
	})
}

// Clients that stand still must not keep the few connections to an origin for
// themselves.
func TestStalledClientsFreeTheOrigin(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		pool := r.pool(origin.Options{Upstream: "http://origin.test", Connections: 2})
		r.reconfigure(func(s *Site) { s.Origin = pool })
		for range 2 {
			defer r.stall("/size/1000000?cc=private").Close()
		}
		time.Sleep(time.Second)
		if st := pool.Stats(); st.InFlight != 2 {
			t.Fatalf("%+v, want both connections taken", st)
		}
		time.Sleep(time.Hour)
		if a := r.get("/text/other?cc=private"); a.StatusCode != 200 {
			t.Errorf("another client got %d, %s", a.StatusCode, a.Header.Get(httpcache.CacheStatusField))
		}
	})
}

// Nor the memory of the store: what they were reading may be evicted and its bytes
// used again.
func TestStalledClientsFreeTheStore(t *testing.T) {
	inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) {
		for i := range 3 {
			target := "/size/5000000?cc=max-age%3D60&i=" + strconv.Itoa(i)
			defer r.stall(target).Close()
			time.Sleep(time.Second)
		}
		if used := r.store.Stats().UsedBytes; used < 15_000_000 {
			t.Fatalf("%d bytes are used: the store is not full", used)
		}
		time.Sleep(time.Hour)
		for i := range 20 {
			target := "/size/200000?cc=max-age%3D6000&j=" + strconv.Itoa(i)
			if r.get(target); !r.last().Stored {
				t.Errorf("%s was not stored: %+v", target, r.store.Stats())
			}
		}
	})
}
