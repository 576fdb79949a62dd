package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"perigee/internal/testorigin"
)

func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"127.0.0.1:80": true, "127.9.9.9:8443": true,
		"": false, "localhost:80": false, "192.0.2.1:80": false, "0.0.0.0:80": false, "[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "127.0.0.1": false,
	} {
		if err := onlyLoopback(addr); (err == nil) != ok {
			t.Errorf("onlyLoopback(%q) = %v, want an address that is taken: %v", addr, err, ok)
		}
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	from := make(map[string]int)
	for i := range mostConnections {
		ip := source(i)
		if !ip.IsLoopback() || ip.String() == "127.0.100.1" {
			t.Fatalf("source(%d) = %v, want one of 127.0.0.0/8 that is not the normal client's", i, ip)
		}
		from[ip.String()]++
	}
	for ip, n := range from {
		if n > 512 {
			t.Errorf("%d connections from %s, perigee takes 512", n, ip)
		}
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	stat := func(state, pages string) string {
		return "17 (a (b) c) " + state + " 1 1 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 100 1000 " + pages + " 18446744073709551615 1"
	}
	got, err := parseStat(stat("S", "256"))
	if err != nil || got.cpu != 3*time.Second || got.resident < 256<<12 {
		t.Errorf("parseStat = %+v, %v, want 3 s and 256 pages", got, err)
	}
	for _, bad := range []string{"", "17 (x) S 1", stat("Z", "256"), stat("S", "0"), stat("S", "many")} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	var done []answered
	for i := range 97 {
		done = append(done, answered{"hit", time.Duration(100-i) * time.Millisecond, nil})
	}
	done = append(done, answered{"hit", time.Second, nil}, answered{"miss", 1001 * time.Millisecond, nil},
		answered{"miss", time.Millisecond, errors.New("status 503")})
	got := judge(done)
	want := judgement{
		Requests: 100, InTime: 98, P50: 53 * time.Millisecond, P99: time.Second, Worst: 1001 * time.Millisecond,
		Late: map[string]int{"miss": 2}, Error: "status 503",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("judge (-want +got):\n%s", diff)
	}
	if got.share() >= enough {
		t.Errorf("share = %v, want less than %v", got.share(), enough)
	}
	if none := judge(nil); none.share() != 0 {
		t.Errorf("share of no requests = %v, want 0: nothing was shown", none.share())
	}
}

// TestModes runs each attacker against net/http's server until it has done what it
// says, and then it must end.
func TestModes(t *testing.T) {
	t.Parallel()
	serve := func(secure bool) string {
		s := httptest.NewUnstartedServer(testorigin.New())
		s.EnableHTTP2 = true
		if secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		_, addr, _ := strings.Cut(s.URL, "://")
		return addr
	}
	clear, secure := serve(false), serve(true)
	for name, m := range modes() {
		t.Run(name, func(t *testing.T) {
			a := &attack{clear: clear, tls: secure, connections: 4, readers: 2, ramp: 100}
			ctx, end := context.WithTimeout(t.Context(), longest)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				m.run(a, ctx)
			}()
			for r := a.tally.report(); (r.Sent == 0 || r.Opened < 4) && wait(ctx, time.Millisecond); {
				r = a.tally.report()
			}
			end()
			<-ended
			if r := a.tally.report(); r.Sent == 0 || r.Opened < 4 {
				t.Errorf("%s has sent %d on %d connections in %v, want something on 4 at least", name, r.Sent, r.Opened, longest)
			}
		})
	}
}
