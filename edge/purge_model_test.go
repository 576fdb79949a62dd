package edge

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/purge"
)

// The model: pages with tags on two sites, purges of all kinds, requests of which some
// are under way meanwhile, and a clock that jumps. What may be served a list of
// predicates says, one for each purge, that knows nothing of marks and ledgers.

// modelPage is a resource. What the origin prints is the number of the purge before
// which it was asked; its entity tag never changes.
type modelPage struct {
	host, path, query string
	tags              []string
	status            int
	kind              string // media type
	lifetime          time.Duration
	delay             time.Duration

	asked   atomic.Int64 // number of purges when the origin was asked last
	fetched atomic.Int64 // nanoseconds since 1970 of that
}

func (p *modelPage) target() string { return p.path + p.query }

// modelPurge is a predicate.
type modelPurge struct {
	text  string
	soft  bool
	names func(p *modelPage) bool
}

// purgeModel is one run.
type purgeModel struct {
	rig    *rig
	desk   *desk
	random *rand.Rand
	pages  []*modelPage
	count  atomic.Int64 // of purges
	purges []modelPurge // purges[i] is number i+1
}

var modelPaths = []string{"/a", "/a/b", "/a/b/c", "/a/bc", "/", "/item", "/item/1"}

func newPurgeModel(r *rig, seed uint64) *purgeModel {
	other := *r.site
	other.Name, other.Aliases = "other.test", nil
	r.handler.Swap(NewSites([]*Site{r.site, &other}), Limits{})
	m := &purgeModel{rig: r, desk: r.desk(), random: rand.New(rand.NewPCG(seed, 5))}
	for _, host := range []string{"www.test", "other.test"} {
		for _, path := range modelPaths {
			for _, query := range []string{"", "?q=1"} {
				m.pages = append(m.pages, m.page(host, path, query))
			}
		}
	}
	for _, path := range modelPaths {
		r.serve(path, m.answer)
	}
	return m
}

func (m *purgeModel) page(host, path, query string) *modelPage {
	p := &modelPage{
		host: host, path: path, query: query, status: 200, kind: "text/html",
		lifetime: time.Duration(1+m.random.IntN(100)) * time.Minute,
	}
	for _, tag := range []string{"item", "item-1", "Item", "all"} {
		if m.random.IntN(3) == 0 {
			p.tags = append(p.tags, tag)
		}
	}
	if m.random.IntN(4) == 0 {
		p.status = 404
	}
	if m.random.IntN(4) == 0 {
		p.kind = "text/css"
	}
	if m.random.IntN(3) == 0 {
		p.delay = time.Duration(1+m.random.IntN(5)) * time.Second
	}
	return p
}

// answer is the origin.
func (m *purgeModel) answer(w http.ResponseWriter, q *http.Request) {
	host := q.Header.Get("X-Forwarded-Host")
	i := slices.IndexFunc(m.pages, func(p *modelPage) bool {
		return p.host == host && p.path == q.URL.Path && strings.TrimPrefix(p.query, "?") == q.URL.RawQuery
	})
	p, number := m.pages[i], m.count.Load()
	p.asked.Store(number)
	p.fetched.Store(time.Now().UnixNano())
	later(p.delay)
	w.Header().Set(httpcache.CacheControlField, fmt.Sprintf("max-age=%d", int(p.lifetime.Seconds())))
	w.Header().Set("Content-Type", p.kind)
	w.Header().Set("Cache-Tag", strings.Join(p.tags, ","))
	w.Header().Set("Etag", `"same"`)
	if q.Header.Get("If-None-Match") != "" {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(p.status)
	_, _ = io.WriteString(w, strconv.FormatInt(number, 10))
}

// bounds are the numbers of the last hard and the last soft one of the purges that
// strike a page, 0 for none.
func bounds(purges []modelPurge, p *modelPage) (hard, soft int64) {
	for i, each := range purges {
		switch {
		case !each.names(p):
		case each.soft:
			soft = int64(i + 1)
		default:
			hard = int64(i + 1)
		}
	}
	return hard, soft
}

// ask requests a page and holds the answer against the purges that were there before.
// quiet says that nothing else is under way.
func (m *purgeModel) ask(t *testing.T, p *modelPage, purges []modelPurge, quiet bool) {
	hard, soft := bounds(purges, p)
	asked, fetched, began := p.asked.Load(), p.fetched.Load(), time.Now()
	a, err := m.rig.do(t.Context(), http.MethodGet, p.target(), "Host: "+p.host)
	if err != nil || a.err != nil {
		t.Errorf("%s%s: %v, %v", p.host, p.target(), err, a.err)
		return
	}
	xCache := a.Header.Get("X-Cache")
	printed, err := strconv.ParseInt(a.body, 10, 64)
	if err != nil || printed < hard {
		t.Errorf("%s%s %v: %s, printed at purge %q; the last that strikes it is %d: %s", p.host, p.target(), p.tags, xCache, a.body, hard, lastOf(purges, hard))
	}
	if !quiet {
		return
	}
	fresh := fetched > 0 && began.Sub(time.Unix(0, fetched)) < p.lifetime-10*time.Second
	want := "HIT"
	switch {
	case asked < hard || fetched == 0:
		want = "MISS"
	case asked < soft && fresh:
		want = "STALE"
	case !fresh:
		return // which of the ways of being stale it is other tests say
	}
	if xCache != want {
		t.Errorf("%s%s %v: X-Cache %s, want %s (asked at %d, hard %d, soft %d): %s", p.host, p.target(), p.tags, xCache, want, asked, hard, soft, a.Header.Get(httpcache.CacheStatusField))
	}
}

func lastOf(purges []modelPurge, number int64) string {
	if number == 0 {
		return "none"
	}
	return purges[number-1].text
}

// strike makes one purge of a random kind.
func (m *purgeModel) strike() {
	p := m.pages[m.random.IntN(len(m.pages))]
	o, names := m.order(p)
	o.Site, o.Soft = p.host, m.random.IntN(3) == 0
	of := func(each *modelPage) bool { return each.host == p.host && names(each) }
	m.purges = append(m.purges, modelPurge{fmt.Sprintf("%+v", o), o.Soft, of})
	m.count.Add(1) // what is asked from here on is new enough
	m.desk.order(o)
}

// order is of a random kind and strikes p, if anything.
func (m *purgeModel) order(p *modelPage) (purge.Order, func(*modelPage) bool) {
	path := p.path
	switch m.random.IntN(9) {
	case 0:
		return purge.Order{URLs: []string{p.target()}}, func(each *modelPage) bool { return each.target() == p.target() }
	case 1:
		return purge.Order{URLs: []string{path}, IgnoreQuery: true}, func(each *modelPage) bool { return each.path == path }
	case 2:
		return purge.Order{Prefixes: []string{path}}, func(each *modelPage) bool {
			return path == "/" || each.path == path || strings.HasPrefix(each.path, path+"/")
		}
	case 3, 4:
		tag := []string{"item", "item-1", "Item", "all", "none"}[m.random.IntN(5)]
		return purge.Order{Tags: []string{tag}}, func(each *modelPage) bool { return slices.Contains(each.tags, tag) }
	case 5:
		return purge.Order{Tags: []string{"status=404"}}, func(each *modelPage) bool { return each.status == 404 }
	case 6:
		return purge.Order{Tags: []string{"type=text/css"}}, func(each *modelPage) bool { return each.kind == "text/css" }
	case 7:
		return purge.Order{Hosts: []string{p.host}}, func(*modelPage) bool { return true }
	}
	return purge.Order{Everything: true}, func(*modelPage) bool { return true }
}

// play does n random things.
func (m *purgeModel) play(t *testing.T, n int) {
	for range n {
		switch m.random.IntN(10) {
		case 0, 1:
			m.strike()
		case 2:
			later(time.Duration(m.random.IntN(3600)) * time.Second)
		case 3: // some at once, and purges while they are under way
			var all sync.WaitGroup
			for range 4 {
				p := m.pages[m.random.IntN(len(m.pages))]
				before := slices.Clone(m.purges)
				all.Go(func() { m.ask(t, p, before, false) })
				later(time.Duration(m.random.IntN(2000)) * time.Millisecond)
				m.strike()
			}
			all.Wait()
		default:
			m.ask(t, m.pages[m.random.IntN(len(m.pages))], m.purges, true)
		}
		later(10 * time.Second) // all comes to rest
	}
}

func TestPurgeModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) { newPurgeModel(r, seed).play(t, 200) })
		})
	}
}
