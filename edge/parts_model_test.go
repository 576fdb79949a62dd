package edge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/httpcache"
	"perigee/internal/testorigin"
)

// A model of one resource whose representation changes over time: whatever clients ask
// for in whatever order, each answer has bytes of one version, the one that its tag
// names, where it says that they are, and of one that was current not too long ago.

// manners is how the model's origin treats ranges.
type manners struct {
	name          string
	noRanges      bool // Range is ignored
	unconditional bool // If-Range is ignored
	breaks        int  // one in so many bodies ends early; 0 = none
	weak          bool // its tags are weak
	posts         bool // versions change by POST, through the edge, and by nothing else
}

const (
	modelLifetime = 10 * time.Second
	modelStale    = 5 * time.Second // while revalidating
	modelWait     = time.Second     // the longest that the origin takes
	modelSteps    = 60
	modelClients  = 12
)

// modelVersion is one representation, current from a moment on.
type modelVersion struct {
	etag  string
	body  []byte
	until time.Time // zero while it is current
}

type model struct {
	manners manners

	mu       sync.Mutex // guards what follows
	random   *rand.Rand
	versions []modelVersion
	least    int // the oldest version that may be seen by who asks now: those before were invalidated
}

func newModel(m manners, seed uint64) *model {
	made := &model{manners: m, random: rand.New(rand.NewPCG(seed, 1))}
	made.change()
	return made
}

// change makes a new version the current one.
func (m *model) change() {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.versions)
	if n > 0 {
		m.versions[n-1].until = time.Now()
	}
	etag := fmt.Sprintf(`"v%d"`, n)
	if m.manners.weak {
		etag = "W/" + etag
	}
	size := 1 + m.random.Int64N(40_000)
	if m.random.IntN(2) == 0 {
		size = 20_000 // a version of the same length as another is the harder case
	}
	m.versions = append(m.versions, modelVersion{etag: etag, body: testorigin.Body(uint64(n)+1, size)})
}

// roll is a number below n.
func (m *model) roll(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

func (m *model) current() modelVersion {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.versions[len(m.versions)-1]
}

func (m *model) named(etag string) (version modelVersion, n int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, each := range m.versions {
		if each.etag == etag {
			return each, i, true
		}
	}
	return modelVersion{}, 0, false
}

// post changes the resource through the edge. Whoever asks once it has been answered
// must not see what was before.
func (m *model) post(t *testing.T, r *rig) {
	a, err := r.do(t.Context(), http.MethodPost, "/x")
	if err != nil || a.StatusCode != http.StatusNoContent {
		t.Errorf("POST: %v, %v", a.Response, err)
		return
	}
	_, n, _ := m.named(a.Header.Get("X-Version"))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.least = max(m.least, n)
}

// floor is the oldest version that may be seen by who asks now.
func (m *model) floor() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.least
}

// ServeHTTP is the origin.
func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		later(time.Duration(m.roll(int(modelWait))))
		m.change()
		w.Header().Set("X-Version", m.current().etag)
		later(time.Duration(m.roll(int(modelWait))))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	version := m.current()
	later(time.Duration(m.roll(int(modelWait))))
	h := w.Header()
	h.Set(httpcache.CacheControlField, fmt.Sprintf("max-age=%.0f, stale-while-revalidate=%.0f", modelLifetime.Seconds(), modelStale.Seconds()))
	h.Set("Etag", version.etag)
	h.Set("Content-Type", "application/octet-stream")
	ask := r.Clone(r.Context())
	if m.manners.noRanges {
		ask.Header.Del("Range")
	}
	if m.manners.unconditional {
		ask.Header.Del("If-Range")
	}
	var content io.ReadSeeker = bytes.NewReader(version.body)
	if m.manners.breaks > 0 && m.roll(m.manners.breaks) == 0 {
		content = &breaking{ReadSeeker: content, left: m.roll(len(version.body) + 1)}
		defer panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, ask, "", time.Time{}, content)
}

// breaking is a body that ends with an error.
type breaking struct {
	io.ReadSeeker
	left int
}

func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadSeeker.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// question is what one client asks.
type question struct {
	method  string
	fields  []string
	delay   time.Duration // before it is asked
	patient time.Duration // when the client leaves; 0 = never
}

func (m *model) question() question {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := question{method: http.MethodGet, delay: time.Duration(m.random.Int64N(int64(2 * modelWait)))}
	last := m.versions[len(m.versions)-1]
	n := int64(len(last.body))
	tag := m.versions[m.random.IntN(len(m.versions))].etag
	first := m.random.Int64N(n)
	switch m.random.IntN(8) {
	case 0:
	case 1:
		q.fields = append(q.fields, fmt.Sprintf("Range: bytes=%d-", first))
	case 2:
		q.fields = append(q.fields, fmt.Sprintf("Range: bytes=-%d", 1+first))
	case 3:
		q.fields = append(q.fields, fmt.Sprintf("Range: bytes=%d-%d,%d-%d", first/4, first/4+m.random.Int64N(500), first, first+m.random.Int64N(500)))
	default:
		q.fields = append(q.fields, fmt.Sprintf("Range: bytes=%d-%d", first, first+m.random.Int64N(5000)))
	}
	switch m.random.IntN(10) {
	case 0:
		q.fields = append(q.fields, "If-Range: "+tag)
	case 1:
		q.fields = append(q.fields, "If-None-Match: "+tag)
	case 2:
		q.fields = append(q.fields, "If-Match: "+tag)
	case 3:
		q.method = http.MethodHead
	case 4:
		q.patient = time.Duration(1 + m.random.Int64N(int64(modelWait)))
	}
	return q
}

// check tells what is wrong with an answer that began to be asked for at began, when
// least was the floor.
func (m *model) check(q question, a answered, began time.Time, least int) error {
	switch a.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		return nil
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified:
	case http.StatusBadGateway:
		if m.manners.breaks > 0 {
			return nil
		}
		return fmt.Errorf("status %d, %q", a.StatusCode, a.body)
	default:
		return fmt.Errorf("status %d, %q", a.StatusCode, a.body)
	}
	version, n, ok := m.named(a.Header.Get("Etag"))
	switch {
	case !ok:
		return fmt.Errorf("ETag %q was never there", a.Header.Get("Etag"))
	case n < least:
		return fmt.Errorf("version %s, and %d was the oldest that had not been invalidated", version.etag, least)
	}
	// Two fetches of a second each may lie between asking and what was current.
	if grace := modelLifetime + modelStale + 3*modelWait; !version.until.IsZero() && began.Sub(version.until) > grace {
		return fmt.Errorf("version %s was replaced %v before", version.etag, began.Sub(version.until))
	}
	if q.method == http.MethodHead || a.StatusCode == http.StatusNotModified {
		return nil
	}
	kind, parameters, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	switch {
	case a.StatusCode == http.StatusOK:
		if a.body != string(version.body) {
			return fmt.Errorf("200 of %s: %d bytes that are not its %d", version.etag, len(a.body), len(version.body))
		}
		return nil
	case kind == "multipart/byteranges":
		return version.holdsAll(multipart.NewReader(strings.NewReader(a.body), parameters["boundary"]))
	}
	return version.holds(a.Header.Get("Content-Range"), a.body)
}

func (v modelVersion) holdsAll(parts *multipart.Reader) error {
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		if err == io.EOF && n > 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			return fmt.Errorf("part %d: %w", n, err)
		}
		if err := v.holds(part.Header.Get("Content-Range"), string(text)); err != nil {
			return err
		}
	}
}

func (v modelVersion) holds(span, body string) error {
	var first, last, size int
	if _, err := fmt.Sscanf(span, "bytes %d-%d/%d", &first, &last, &size); err != nil {
		return fmt.Errorf("Content-Range %q: %w", span, err)
	}
	if size != len(v.body) || first > last || last >= size {
		return fmt.Errorf("Content-Range %q of version %s with %d bytes", span, v.etag, len(v.body))
	}
	if body != string(v.body[first:last+1]) {
		return fmt.Errorf("%q of %s: %d other bytes", span, v.etag, len(body))
	}
	return nil
}

func TestPartsModel(t *testing.T) {
	for _, m := range []manners{
		{name: "plain"},
		{name: "no ranges", noRanges: true},
		{name: "If-Range ignored", unconditional: true},
		{name: "breaking", breaks: 5},
		{name: "weak", weak: true},
		{name: "weak and unconditional", weak: true, unconditional: true, breaks: 10},
		{name: "invalidated", posts: true},
		{name: "invalidated, unconditional and breaking", posts: true, unconditional: true, breaks: 10},
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(m.name, " ", seed), func(t *testing.T) {
				inBubble(t, httpcache.Rules{}, func(t *testing.T, r *rig) { playModel(t, r, newModel(m, seed)) })
			})
		}
	}
}

func playModel(t *testing.T, r *rig, m *model) {
	r.origin.Script("/x", testorigin.Answer{Handler: m.ServeHTTP})
	for step := range modelSteps {
		var wg sync.WaitGroup
		switch action := m.roll(6); {
		case action == 0 && m.manners.posts:
			wg.Go(func() { m.post(t, r) })
		case action == 0:
			m.change()
		case action == 1:
			later(time.Duration(m.roll(int(2 * modelLifetime))))
		}
		for range 1 + m.roll(modelClients) {
			q := m.question()
			wg.Go(func() {
				ctx, leave := t.Context(), func() {}
				later(q.delay)
				if q.patient > 0 {
					ctx, leave = context.WithTimeout(ctx, q.patient)
				}
				defer leave()
				began, least := time.Now(), m.floor()
				a, err := r.do(ctx, q.method, "/x", q.fields...)
				switch {
				case err != nil || a.err != nil:
					if q.patient == 0 && m.manners.breaks == 0 {
						t.Errorf("step %d, %s %q: %v, %v", step, q.method, q.fields, err, a.err)
					}
				default:
					if err := m.check(q, a, began, least); err != nil {
						t.Errorf("step %d, %s %q: %v (%s)", step, q.method, q.fields, err, a.Header.Get(httpcache.CacheStatusField))
					}
				}
			})
		}
		wg.Wait()
	}
	if questions := r.origin.Hits("/x"); questions == 0 {
		t.Error("the origin was never asked")
	}
}
