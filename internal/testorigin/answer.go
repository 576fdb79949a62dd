package testorigin

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Answer is a scripted response. The zero value is 200 with an empty body.
type Answer struct {
	Status int      // 0 = 200
	Fields []string // "Name: value", sent in addition to those made of what follows

	Text string // the body, if not empty
	Size int64  // else a pseudo-random body of so many bytes
	Seed uint64 // of that body; 0 = Seed(path, entity tag)

	Delay time.Duration // before the head
	Gap   time.Duration // between chunks of the body
	Chunk int           // bytes per chunk; 0 = 32 KiB
	Rate  int64         // bytes of body per second; 0 = as fast as they go

	Abort    bool  // hang up after AbortAt bytes of the body
	AbortAt  int64 // -1 = before the head
	Reset    bool  // hanging up is a reset, where the connection can
	Chunked  bool  // no Content-Length
	Length   int64 // a Content-Length that is not true; 0 = the true one
	NoRanges bool  // Range is ignored
	NoDate   bool  // no Date
	HangUp   bool  // Connection: close
	Stubborn bool  // conditions are ignored: 200 where 304 would do

	// Interim responses, at once: Delay comes after them. They have no field of the
	// final one's.
	Interim []int    // their statuses, 100 to 199 but 101
	Early   bool     // 103 Early Hints behind those
	Links   []string // Link of every 103; none = DefaultLink

	Only206 bool  // 206 with the first Part bytes to GET, also where no range is asked for
	Part    int64 // 0 = half of the body, rounded up

	Digest string // "good", "bad": Repr-Digest (RFC 9530) of the body, of another; "" = none

	// Handler answers in place of all the above, after counting, recording and
	// holding.
	Handler http.HandlerFunc
}

// DefaultLink is the Link of a 103 that is told no other.
const DefaultLink = "</style.css>; rel=preload; as=style"

// header makes the fields.
func (a *Answer) header() http.Header {
	h := make(http.Header)
	for _, line := range a.Fields {
		name, value, _ := strings.Cut(line, ":")
		h.Add(textproto.TrimString(name), textproto.TrimString(value))
	}
	return h
}

// fieldParameters are parameters that are a field each.
var fieldParameters = map[string]string{
	"cc":       "cache-control",
	"vary":     "vary",
	"age":      "age",
	"type":     "content-type",
	"location": "location",
}

// dateParameters are those whose value is a date.
var dateParameters = map[string]string{
	"lm":      "last-modified",
	"expires": "expires",
	"date":    "date",
}

// ParseAnswer reads an answer from the parameters of a query as doc.go lists them.
// Unknown parameters are left alone: they tell URLs apart. known reports whether
// there was any that it knew.
func ParseAnswer(query url.Values) (a Answer, known bool, err error) {
	p := parser{values: query}
	a.Status = int(p.number("status"))
	a.Text = p.text("body")
	a.Size = p.number("size")
	a.Seed = uint64(p.number("seed"))
	a.Delay = p.duration("delay")
	a.Gap = p.duration("gap")
	a.Chunk = int(p.number("chunk"))
	a.Rate = p.number("rate")
	a.Reset = p.flag("reset")
	a.Chunked = p.flag("chunked")
	a.Length = p.number("length")
	a.Early = p.flag("early")
	a.HangUp = p.flag("close")
	a.NoRanges = p.has("ranges") && !p.flag("ranges")
	a.Stubborn = p.has("conditional") && !p.flag("conditional")
	a.Only206 = p.flag("only206")
	a.Part = p.number("part")
	a.Digest = p.text("digest")
	p.abort(&a)
	p.interim(&a)
	p.fields(&a)
	if a.Digest != "" && a.Digest != digestGood && a.Digest != digestBad {
		p.keep(errors.New("digest is neither good nor bad"))
	}
	if a.Part < 0 {
		p.keep(errors.New("part is negative"))
	}
	if a.Size < 0 {
		p.keep(errors.New("size is negative"))
	}
	return a, p.known, p.err
}

// parser keeps the first error.
type parser struct {
	values url.Values
	known  bool
	err    error
}

func (p *parser) has(name string) bool {
	if !p.values.Has(name) {
		return false
	}
	p.known = true
	return true
}

func (p *parser) text(name string) string {
	if !p.has(name) {
		return ""
	}
	return p.values.Get(name)
}

func (p *parser) keep(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *parser) number(name string) int64 {
	if !p.has(name) {
		return 0
	}
	n, err := strconv.ParseInt(p.values.Get(name), 10, 64)
	p.keep(err)
	return n
}

func (p *parser) duration(name string) time.Duration {
	if !p.has(name) {
		return 0
	}
	d, err := time.ParseDuration(p.values.Get(name))
	p.keep(err)
	return d
}

func (p *parser) flag(name string) bool {
	if !p.has(name) {
		return false
	}
	on, err := strconv.ParseBool(p.values.Get(name))
	p.keep(err)
	return on
}

func (p *parser) abort(a *Answer) {
	switch text := p.text("abort"); text {
	case "":
	case "head":
		a.Abort, a.AbortAt = true, -1
	default:
		a.Abort, a.AbortAt = true, p.number("abort")
	}
}

func (p *parser) interim(a *Answer) {
	if p.has("link") {
		a.Links = p.values["link"]
	}
	if !p.has("interim") {
		return
	}
	for _, text := range p.values["interim"] {
		status, err := strconv.Atoi(text)
		if err != nil || status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
			p.keep(fmt.Errorf("interim %q is no status of an interim response", text))
		}
		a.Interim = append(a.Interim, status)
	}
}

func (p *parser) fields(a *Answer) {
	for name, field := range fieldParameters {
		if p.has(name) {
			a.Fields = append(a.Fields, field+": "+p.values.Get(name))
		}
	}
	if tag := p.text("etag"); tag != "" {
		if !strings.HasSuffix(tag, `"`) {
			tag = `"` + tag + `"`
		}
		a.Fields = append(a.Fields, "etag: "+tag)
	}
	for name, field := range dateParameters {
		value := p.text(name)
		switch seconds, err := strconv.ParseInt(value, 10, 64); {
		case value == "":
		case name == "date" && value == "-":
			a.NoDate = true
		case err == nil:
			a.Fields = append(a.Fields, field+": "+time.Unix(seconds, 0).UTC().Format(http.TimeFormat))
		default:
			a.Fields = append(a.Fields, field+": "+value)
		}
	}
	if p.has("h") {
		a.Fields = append(a.Fields, p.values["h"]...)
	}
}
