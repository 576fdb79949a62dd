package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/config"
)

// poisonRig is a whole node in front of a weak origin, on real sockets.
type poisonRig struct {
	origin *weakOrigin
	dial   func() (net.Conn, error)
	other  func() (net.Conn, error) // in clear where dial is over TLS, and the other way round
}

// poisonNodes are the configurations that cases name, each as it differs from that
// of `perigee proxy`.
var poisonNodes = map[string]func(site *config.Site){
	"":       func(*config.Site) {},
	"ttl":    func(site *config.Site) { site.Cache.DefaultTTL = time.Hour },
	"client": func(site *config.Site) { site.Origin.Host = config.HostClient },
}

// poisonRigs starts a node of each kind. proto is "" in clear, or the ALPN name.
func poisonRigs(t *testing.T, proto string) map[string]*poisonRig {
	t.Helper()
	rigs := map[string]*poisonRig{}
	for name, change := range poisonNodes {
		origin := &weakOrigin{}
		server := httptest.NewServer(origin)
		t.Cleanup(server.Close)
		conf, err := config.Proxy(config.ProxyOptions{
			To: server.URL, Listen: []string{"127.0.0.1:0"}, ListenTLS: []string{"127.0.0.1:0"}, Admin: "off", RAM: "64MiB",
		})
		if err != nil {
			t.Fatal(err)
		}
		conf.Log.Access = "off"
		change(conf.Sites[0])
		n, err := start(conf, nil, io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			n.stop(ctx)
		})
		clear, secure := n.listeners.Addrs()
		crossed := map[string]string{"": "http/1.1"}[proto]
		rigs[name] = &poisonRig{
			origin: origin, dial: poisonDial(proto, clear[0].String(), secure[0].String()),
			other: poisonDial(crossed, clear[0].String(), secure[0].String()),
		}
	}
	return rigs
}

func poisonDial(proto, clear, secure string) func() (net.Conn, error) {
	if proto == "" {
		return func() (net.Conn, error) { return net.Dial("tcp", clear) }
	}
	// The certificate was made by the node just now: nobody vouches for it.
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}, ServerName: "poison.test"}
	return func() (net.Conn, error) { return tls.Dial("tcp", secure, conf) }
}

// poisonReply is a response as a client got it.
type poisonReply struct {
	status string
	text   string // head and body
	hit    bool
}

// talkRaw writes bytes and reads responses until the connection ends.
func talkRaw(nc net.Conn, method, text string, fin bool) (replies []poisonReply) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		if _, err := io.WriteString(nc, text); err != nil || !fin {
			return // refused while it was written
		}
		switch c := nc.(type) {
		case *net.TCPConn:
			_ = c.CloseWrite()
		case *tls.Conn:
			_ = c.CloseWrite()
			_ = c.NetConn().(*net.TCPConn).CloseWrite()
		}
	})
	br := bufio.NewReader(nc)
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				replies = append(replies, poisonReply{status: "hangs"})
			}
			return replies
		}
		var b strings.Builder
		_ = resp.Write(&b) // as much of the body as there is
		replies = append(replies, poisonReply{strconv.Itoa(resp.StatusCode), b.String(), resp.Header.Get("X-Cache") == "HIT"})
		if resp.StatusCode >= 200 {
			method = http.MethodGet
		}
	}
}

// victimBytes is the victim's request.
func (c *poisonCase) victimBytes() string {
	lines := append([]string{"GET " + c.victim + " HTTP/1.1", "Host: " + c.host()}, c.victimFields...)
	return strings.Join(append(lines, "Connection: close"), "\r\n") + "\r\n\r\n"
}

// run makes the attack, and looks at what the victims get: one that comes after it
// on its connection, as behind a proxy that others share, and two elsewhere. It
// returns what is wrong.
func (c *poisonCase) run(t *testing.T, rig *poisonRig) (faults []string) {
	t.Helper()
	dial := func() net.Conn {
		nc, err := rig.dial()
		if err != nil {
			t.Fatalf("%s: %v", c.id, err)
		}
		return nc
	}
	rig.origin.runs(c.origin)
	var attack, victims []poisonReply
	if c.h2 != nil {
		attack, victims = c.overHTTP2(t, dial)
	} else {
		text := c.attack
		if !c.alone {
			text += c.victimBytes()
		}
		if attack = talkRaw(dial(), c.method, text, c.alone); len(attack) == 0 {
			attack = []poisonReply{{status: "close"}}
		}
		if n := len(attack); !c.alone && n > 1 {
			attack, victims = attack[:n-1], attack[n-1:]
		}
		for range 2 {
			got := talkRaw(dial(), http.MethodGet, c.victimBytes(), false)
			if len(got) != 1 {
				return []string{fmt.Sprintf("the victim got %d responses, want 1: %+v", len(got), got)}
			}
			victims = append(victims, got[0])
		}
	}
	return append(c.judgeVictims(victims), c.judgeAttack(attack, rig.origin.asked())...)
}

func (c *poisonCase) judgeVictims(victims []poisonReply) (faults []string) {
	fault := func(format string, values ...any) { faults = append(faults, fmt.Sprintf(format, values...)) }
	for i, v := range victims {
		if strings.Contains(strings.ToLower(v.text), c.marker()) {
			fault("victim %d got what the attacker sent:\n%s", i, v.text)
		}
		if v.status != c.status {
			fault("victim %d was answered with %s, want %s:\n%s", i, v.status, c.status, v.text)
		}
		for _, want := range c.holds {
			if !strings.Contains(v.text, want) {
				fault("victim %d got no %q:\n%s", i, want, v.text)
			}
		}
		for _, unwanted := range c.lacks {
			if strings.Contains(v.text, unwanted) {
				fault("victim %d got %q:\n%s", i, unwanted, v.text)
			}
		}
		if c.never && v.hit {
			fault("victim %d was answered from the store:\n%s", i, v.text)
		}
	}
	if last := victims[len(victims)-1]; !c.never && !last.hit {
		fault("the last victim was not answered from the store, so nothing is shown:\n%s", last.text)
	}
	return faults
}

func (c *poisonCase) judgeAttack(attack []poisonReply, asked []string) []string {
	marked := slices.IndexFunc(asked, func(s string) bool { return strings.Contains(strings.ToLower(s), c.marker()) })
	unmarked := slices.IndexFunc(asked, func(s string) bool { return !strings.Contains(strings.ToLower(s), c.marker()) })
	status := attack[0].status
	refused := status == "reset" || len(status) == 3 && status >= "400"
	// What HTTP has for ranges and conditions is an answer as well.
	answered := status == c.status || slices.Contains([]string{"200", "206", "304", "412", "416"}, status)
	switch {
	case status == "hangs":
		return []string{"the attack was not answered"}
	case c.reaches != "apart" && marked >= 0:
		return []string{fmt.Sprintf("the marker reached the origin, want the attack %s:\n%s", c.reaches, asked[marked])}
	case c.reaches == "refused" && !refused:
		return []string{fmt.Sprintf("the attack was answered with %s, want a refusal:\n%s", status, attack[0].text)}
	case c.reaches == "clean" && !c.alone && !answered:
		return []string{fmt.Sprintf("the attack was answered with %s, want %s:\n%s", status, c.status, attack[0].text)}
	case c.reaches == "apart" && (marked < 0 || unmarked < 0):
		return []string{fmt.Sprintf("want the attack and the victim at the origin, both, got %q", asked)}
	}
	return nil
}

// wirePoison runs cases on one wire, one after the other: the origin answers as the
// one that runs wants it.
func wirePoison(t *testing.T, proto string, cases []*poisonCase) {
	t.Parallel()
	rigs := poisonRigs(t, proto)
	for _, c := range cases {
		rig, ok := rigs[c.node]
		if !ok {
			t.Fatalf("%s: there is no node %q", c.id, c.node)
		}
		for _, fault := range c.run(t, rig) {
			t.Errorf("%s: %s\nIt is a case because %s (%s).", c.id, fault, c.breaks, c.from)
		}
	}
}

// No answer made for one client reaches another.
func TestPoison(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("POISON_DIR")
	cases := loadPoison(t, dir)
	var h1, overTLS, h2 []*poisonCase
	for _, c := range cases {
		switch {
		case c.h2 != nil:
			h2 = append(h2, c)
			continue
		case c.first: // the others of its block differ in a name alone, and handshakes are dear
			overTLS = append(overTLS, c)
		}
		h1 = append(h1, c)
	}
	if dir == "" && (len(overTLS) < 300 || len(h2) < 100) {
		t.Fatalf("%d blocks of cases over HTTP/1.1 and %d cases over HTTP/2, want 300 and 100", len(overTLS), len(h2))
	}
	t.Run("clear", func(t *testing.T) { wirePoison(t, "", h1) })
	t.Run("tls", func(t *testing.T) { wirePoison(t, "http/1.1", overTLS) })
	t.Run("h2", func(t *testing.T) { wirePoison(t, "h2", h2) })
}

// What was made for a client in clear, with links in clear, is not for one over TLS.
func TestPoisonKeepsSchemesApart(t *testing.T) {
	t.Parallel()
	for name, rig := range poisonRigs(t, "") {
		c := &poisonCase{id: "scheme", victim: "/a"}
		rig.origin.runs(map[string]string{"shows": "X-Forwarded-Proto"})
		for _, way := range []struct {
			dial func() (net.Conn, error)
			want string
		}{{rig.dial, "http"}, {rig.other, "https"}, {rig.dial, "http"}, {rig.other, "https"}} {
			nc, err := way.dial()
			if err != nil {
				t.Fatal(err)
			}
			got := talkRaw(nc, http.MethodGet, c.victimBytes(), false)
			if len(got) != 1 || !strings.Contains(got[0].text, fmt.Sprintf("X-Forwarded-Proto is %q", way.want)) {
				t.Errorf("node %q: a client of %s was answered with %+v", name, way.want, got)
			}
		}
		if n := len(rig.origin.asked()); n != 2 {
			t.Errorf("node %q: the origin was asked %d times, want 2", name, n)
		}
	}
}

// The attempts that succeed so far are whole cases, ready to be run.
func TestPoisonPendingIsWellFormed(t *testing.T) {
	t.Parallel()
	settled := map[string]bool{}
	for _, c := range loadPoison(t, "") {
		settled[c.id] = true
	}
	for _, c := range loadPoison(t, "pending/") {
		if settled[c.id] {
			t.Errorf("%s is pending and settled", c.id)
		}
	}
}

// Every field that the edge knows to be dangerous has a case over each protocol.
func TestPoisonKnowsEveryUnkeyedField(t *testing.T) {
	t.Parallel()
	lists := regexp.MustCompile(`(?s)\{\n.*?\n\}`).FindAllString(readFile(t, "../../edge/unkeyed.go"), 2)
	names := regexp.MustCompile(`"([A-Z][A-Za-z-]*)"`).FindAllStringSubmatch(strings.Join(lists, ""), -1)
	if len(names) < 30 {
		t.Fatalf("edge/unkeyed.go names %d fields, want 30 or more", len(names))
	}
	var h1, h2 strings.Builder
	for _, c := range loadPoison(t, "") {
		h1.WriteString(strings.ToLower(c.attack))
		h2.WriteString("\n" + strings.ToLower(strings.Join(c.h2, "\n")))
	}
	for _, name := range names {
		field := strings.ToLower(name[1])
		if !strings.Contains(h1.String(), "\n"+field+": ") || !strings.Contains(h2.String(), "\n"+field+" ") {
			t.Errorf("no case sends %s over both protocols", name[1])
		}
	}
}
