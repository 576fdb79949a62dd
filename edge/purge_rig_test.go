package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/purge"
)

// desk takes purges for a rig as a node does: through the service, a log and the
// ledger.
type desk struct {
	t       *testing.T
	log     purge.Log
	ledger  *purge.Ledger
	service *purge.Service
}

// desk opens the desk for the sites that the rig serves now.
func (r *rig) desk() *desk {
	d := &desk{t: r.t, log: purge.Memory(time.Now), ledger: r.handler.ledger.(*purge.Ledger)}
	d.service = purge.NewService(purge.ServiceOptions{
		Log: d.log, Ledger: d.ledger, Names: r.handler, Count: r.handler.Count, Now: time.Now, Edge: "rig",
	})
	var sites []purge.SiteOptions
	for _, site := range r.handler.Sites().All() {
		sites = append(sites, purge.SiteOptions{Name: site.Name, Hosts: append([]string{site.Name}, site.Aliases...)})
	}
	d.service.Swap(sites)
	ctx, end := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = d.ledger.Follow(ctx, d.log) })
	work.Go(func() { _ = d.service.Run(ctx) })
	r.t.Cleanup(func() { end(); work.Wait() })
	return d
}

// order purges, and returns when the ledger has it.
func (d *desk) order(o purge.Order) purge.Receipt {
	d.t.Helper()
	if o.Site == "" {
		o.Site = "www.test"
	}
	receipt, err := d.service.Purge(d.t.Context(), o)
	if err != nil {
		d.t.Fatalf("%+v: %v", o, err)
	}
	return receipt
}

// all purges every site.
func (d *desk) all(soft bool) {
	d.t.Helper()
	e := purge.Everything()
	e.Soft = soft
	last, err := d.log.Append(d.t.Context(), purge.NewID(), []purge.Entry{e})
	if err == nil {
		err = d.ledger.Wait(d.t.Context(), last)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// purgeKinds are orders of every kind that strike the page at a target of the rig's
// site, if that has the tag news. A nil one is of all sites.
var purgeKinds = []struct {
	name  string
	order func(target string) purge.Order
}{
	{"url", func(target string) purge.Order { return purge.Order{URLs: []string{"http://www.test" + target}} }},
	{"url of another scheme", func(target string) purge.Order { return purge.Order{URLs: []string{"https://www.test" + target}} }},
	{"url of an alias", func(target string) purge.Order { return purge.Order{URLs: []string{"http://test" + target}} }},
	{"url without a host", func(target string) purge.Order { return purge.Order{URLs: []string{target}} }},
	{"any query", func(target string) purge.Order {
		path, _, _ := strings.Cut(target, "?")
		return purge.Order{URLs: []string{path}, IgnoreQuery: true}
	}},
	{"prefix", func(string) purge.Order { return purge.Order{Prefixes: []string{"/a/"}} }},
	{"tag", func(string) purge.Order { return purge.Order{Tags: []string{"news"}} }},
	{"type", func(string) purge.Order { return purge.Order{Tags: []string{"type=text/html"}} }},
	{"status", func(string) purge.Order { return purge.Order{Tags: []string{"status=200", "status=206"}} }},
	{"host", func(string) purge.Order { return purge.Order{Hosts: []string{"www.test"}} }},
	{"site", func(string) purge.Order { return purge.Order{Everything: true} }},
	{"everything", nil},
}

// strike carries an order of a kind out.
func (d *desk) strike(order func(string) purge.Order, target string, soft bool) {
	d.t.Helper()
	if order == nil {
		d.all(soft)
		return
	}
	o := order(target)
	o.Soft = soft
	d.order(o)
}

// press is an origin whose page is of an edition: that of the moment at which it is
// asked. All editions have one entity tag, so that whoever validates an old one is
// told that it is still good.
type press struct {
	edition  atomic.Int64
	slow     bool        // two seconds to the head, two more to the second half
	fields   []string    // beside those that every edition has, or in their place
	stubborn atomic.Bool // conditions are ignored
	tagless  bool        // there is no entity tag
	down     atomic.Bool // it answers 503

	mu    sync.Mutex // guards asked
	asked []pressed
}

// pressed is a request as the press got it.
type pressed struct {
	edition     int64
	conditional bool
}

// The moments of a slow answer, counted from the request.
const (
	whileAsked = time.Second     // the head has not come
	whileComes = 3 * time.Second // half of the body has
	whenThere  = 5 * time.Second // all of it has

	pageBytes = 6000 // of each edition
)

func (p *press) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	edition, stubborn := p.edition.Load(), p.stubborn.Load()
	p.mu.Lock()
	p.asked = append(p.asked, pressed{edition, q.Header.Get("If-None-Match") != ""})
	p.mu.Unlock()
	if p.slow {
		later(2 * time.Second)
	}
	if p.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	p.head(w.Header())
	if q.Header.Get("If-None-Match") != "" && !stubborn {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	p.print(w, q, strings.Repeat(string(rune('A'+edition)), pageBytes))
}

func (p *press) head(h http.Header) {
	h.Set("Content-Type", "text/html")
	h.Set(httpcache.CacheControlField, "max-age=600")
	h.Set("Cache-Tag", "news")
	if !p.tagless {
		h.Set("Etag", `"same"`)
	}
	for _, field := range p.fields {
		name, value, _ := strings.Cut(field, ": ")
		h.Set(name, value)
	}
}

// print sends the text, or the range of it that is asked for.
func (p *press) print(w http.ResponseWriter, q *http.Request, text string) {
	var first, last int
	status := http.StatusOK
	if n, _ := fmt.Sscanf(q.Header.Get("Range"), "bytes=%d-%d", &first, &last); n == 2 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(text)))
		text, status = text[first:last+1], http.StatusPartialContent
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(status)
	if q.Method == http.MethodHead {
		return
	}
	half := len(text) / 2
	_, _ = io.WriteString(w, text[:half])
	if p.slow {
		w.(http.Flusher).Flush()
		later(2 * time.Second)
	}
	_, _ = io.WriteString(w, text[half:])
}

// since counts what the press was asked while it had an edition.
func (p *press) since(edition int64) (n, conditional int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, each := range p.asked {
		if each.edition == edition {
			n++
			if each.conditional {
				conditional++
			}
		}
	}
	return n, conditional
}

// publishes puts a press behind a path of the rig.
func (r *rig) publishes(path string, p *press) { r.serve(path, p.ServeHTTP) }

// editionOf is the edition that an answer is of; the test fails where it is of
// several, or of none.
func editionOf(t *testing.T, what string, a answered) int64 {
	t.Helper()
	body := a.body
	if coding := a.Header.Get("Content-Encoding"); coding != "" && a.err == nil {
		plain, err := io.ReadAll(decoder(t, coding, strings.NewReader(body)))
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		body = string(plain)
	}
	if a.err != nil || body == "" || strings.Trim(body, body[:1]) != "" {
		t.Errorf("%s: status %d, %d bytes that are no edition, %v", what, a.StatusCode, len(body), a.err)
		return -1
	}
	return int64(body[0] - 'A')
}

// ignoring is a rule that leaves queries out of keys.
func ignoring(m Match) Rule {
	return Rule{Match: m, Key: KeyChange{Query: &httpcache.QueryRule{Ignore: true}}}
}
