package edge

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"perigee/cachestore"
	"perigee/httpcache"
)

// reply is how an answer from a stored response came about.
type reply struct {
	result Result
	status httpcache.CacheStatus
	age    time.Duration
	direct bool        // made or validated by the origin for this very request
	own    http.Header // fields for this client only
}

// answer sends a stored response, or the part of it or the status that the
// request's conditions ask for (RFC 9110 §13.2.2, §14.2).
func (x *exchange) answer(o *cachestore.Object, re reply) {
	x.h.store.Use(o)
	if o.Filling() && re.result == ResultHit {
		x.record.Collapsed = true
	}
	stored := o.Stored()
	x.negotiate(o)
	x.final = x.answerPolicy(stored.Status(), stored.Header())
	if x.req.Method() == http.MethodPost {
		x.answerWhole(o, re) // conditions and ranges are for GET
		return
	}
	switch httpcache.Evaluate(&x.req, stored) {
	case httpcache.NotModified:
		x.head(httpcache.NotModifiedHeader(stored), re)
		x.markNotModified(x.w.Header())
		x.writeHead(http.StatusNotModified)
	case httpcache.PreconditionFailed:
		x.head(nil, re)
		x.plainText(http.StatusPreconditionFailed, "The stored response does not meet the request's precondition.\n")
	case httpcache.Ranges:
		x.answerRange(o, re)
	default:
		x.answerWhole(o, re)
	}
}

// answerWhole sends the whole stored response.
func (x *exchange) answerWhole(o *cachestore.Object, re reply) {
	if x.answerCoded(o, re) {
		return
	}
	stored := o.Stored()
	x.hint(stored.Early())
	x.head(stored.Header(), re)
	h := x.w.Header()
	if size, ok := o.Size(); ok && bodyAllowed(stored.Status()) {
		h["Content-Length"] = x.value(valueLength, itoa(size))
	}
	if stored.Status() == http.StatusOK {
		h["Accept-Ranges"] = acceptBytes
	}
	x.sendBody(o, part{status: stored.Status(), n: -1})
}

var acceptBytes = []string{"bytes"}

// answerRange sends one range or several. Those of a body whose length is not known
// yet are answered with the whole, as any server may (RFC 9110 §14.2).
func (x *exchange) answerRange(o *cachestore.Object, re reply) {
	size, ok := o.Size()
	if !ok {
		x.answerWhole(o, re)
		return
	}
	ranges, err := httpcache.ParseRange(x.req.Range(), size)
	_, passing := o.Passing()
	switch {
	case errors.Is(err, httpcache.ErrUnsatisfiable):
		x.head(nil, re)
		x.w.Header().Set("Content-Range", httpcache.UnsatisfiedRange(size))
		x.plainText(http.StatusRequestedRangeNotSatisfiable, "The response has "+itoa(size)+" bytes; the range lies outside of them.\n")
	case err != nil || len(ranges) > 1 && passing:
		x.answerWhole(o, re)
	case x.farAhead(o, ranges[0].First):
		x.goAlone(errandFor(x, nil, httpcache.Decision{Reason: httpcache.Miss}))
	case len(ranges) > 1:
		x.answerRanges(o, re, ranges, size)
	default:
		one := ranges[0]
		x.head(o.Stored().Header(), re)
		h := x.w.Header()
		httpcache.DropContentDigest(h)
		h["Accept-Ranges"] = acceptBytes
		h.Set("Content-Range", httpcache.ContentRange(one, size))
		n := one.Length()
		h["Content-Length"] = x.value(valueLength, itoa(n))
		x.sendBody(o, part{status: http.StatusPartialContent, off: one.First, n: n})
	}
}

// farAhead tells whether a range begins so far beyond what has come of a body that
// is not stored that it is better asked for by itself, once.
func (x *exchange) farAhead(o *cachestore.Object, first int64) bool {
	arrived, passing := o.Passing()
	return passing && !x.wentAlone && first > arrived+largeBytes
}

// head puts the stored fields and ours into the response.
func (x *exchange) head(fields http.Header, re reply) {
	x.record.Cache = re.result
	h := x.w.Header()
	copyFields(h, fields)
	copyFields(h, re.own)
	if !re.direct {
		// Age says that a response was not made for this request (RFC 9111 §5.1).
		h[httpcache.AgeField] = x.value(valueAge, ageValue(re.age))
	}
	x.markResponse(h, re.result, re.status)
	x.markVaries(h)
}

// markResponse puts the fields that we add to every response into h.
func (x *exchange) markResponse(h http.Header, result Result, status httpcache.CacheStatus) {
	x.addCacheStatus(h, status)
	h["X-Cache"] = xCache[result]
	addVia(h, "HTTP/1.1")
	if x.policy != nil && result != ResultError {
		x.site.policies.markVaries(h, x.policy.key, x.target.Path)
	}
	switch {
	case x.final != nil:
		x.final.editResponse(h)
	case x.policy != nil:
		x.policy.editResponse(h)
	}
}

// xCache holds the field values, so that a hit makes none.
var xCache = func() (values [results][]string) {
	for i := range values {
		values[i] = []string{Result(i).String()}
	}
	return values
}()

// part is the piece of a body that is sent: n bytes from off, all if n < 0.
type part struct {
	status int
	off, n int64
}

// sendBody sends the head and the body. Where the store has let the body go since
// it was looked up, the upstream is asked instead, once.
func (x *exchange) sendBody(o *cachestore.Object, p part) {
	if x.r.Method == http.MethodHead {
		x.record.Tier = tierOf(o)
		x.writeHead(p.status)
		return
	}
	reader := &x.reader
	if err := o.OpenContext(x.ctx, reader, p.off, p.n); err != nil {
		x.refetchGone()
		return
	}
	defer reader.Close()
	x.weigh()
	x.record.Tier = tierOf(o)
	x.writeHead(p.status)
	if err := x.copyFrom(reader); err != nil {
		x.bodyEnded(o, reader, p, err)
	}
}

// clearHeader takes back the fields that were set for another answer, but not what
// the engine says of the connection.
func (x *exchange) clearHeader() {
	h := x.w.Header()
	connection := h["Connection"]
	if clear(h); connection != nil {
		h["Connection"] = connection
	}
}

// retrieves tells whether the request may be asked again: it changes nothing.
func (x *exchange) retrieves() bool {
	return x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
}

// refetchGone answers from the upstream when an object left the store between
// look-up and reading.
func (x *exchange) refetchGone() {
	if x.refetched || !x.retrieves() {
		x.fail(failure{status: http.StatusServiceUnavailable, reason: "store-churn", text: "The response left the store before it could be sent; try again."})
		return
	}
	x.refetched = true
	x.clearHeader()
	x.goAlone(errandFor(x, nil, httpcache.Decision{Reason: httpcache.Miss}))
}

const (
	tierRAM    = "ram"
	tierFill   = "fill"
	tierOrigin = "origin"
)

func tierOf(o *cachestore.Object) string { return o.Tier().String() }

// copyFrom sends what the reader gives, and flushes whenever it would have to wait
// for more: a follower of a fill gets every byte as it arrives.
func (x *exchange) copyFrom(reader *cachestore.Reader) error {
	for {
		if !reader.Ready() {
			x.flush()
			x.unpace() // it is not the client that we wait for now
		}
		piece, err := reader.Next(x.ctx)
		if err != nil {
			return ignoreEOF(err)
		}
		if err := x.send(piece); err != nil {
			return err
		}
	}
}

// bodyEnded deals with a body that ended before its end: by a range of our own
// where the reader fell behind or the store has lost the rest, else by a cut that the
// client can see.
func (x *exchange) bodyEnded(o *cachestore.Object, reader *cachestore.Reader, p part, err error) {
	if errors.Is(err, cachestore.ErrDetached) || errors.Is(err, cachestore.ErrDamaged) || errors.Is(err, cachestore.ErrGone) {
		err = x.goOn(o, reader.Offset(), p)
	}
	if err != nil {
		x.cut(err)
	}
}

// writeHead sends the head. A request's body that nobody wanted is read first, as
// far as it comes at once; where some is left the connection ends with the response.
// Net/http would else wait for the rest before it sends anything, however long the
// client takes.
func (x *exchange) writeHead(status int) {
	if x.r.ProtoMajor == 1 && x.unread() {
		if x.drain(); x.unread() {
			x.w.Header()["Connection"] = closing
			x.stopReading()
		}
	}
	if x.r.ProtoMajor > 1 {
		x.pace(unpacedBytes) // its flow control may let not even the first byte pass
	}
	x.sent(status)
	x.w.WriteHeader(status)
}

var closing = []string{"close"}

// unread tells whether the client has announced a body that has not been read.
func (x *exchange) unread() bool {
	if x.r.ContentLength == 0 || x.r.Body == nil || x.r.Body == http.NoBody {
		return false
	}
	return x.body == nil || !x.body.whole()
}

// stopReading bounds how long net/http, which reads on when the response has gone
// out, waits for a body on a connection that is about to end.
func (x *exchange) stopReading() {
	if w, ok := x.w.(deadliner); ok {
		_ = w.SetReadDeadline(clock().Add(clientPatience))
	}
}

// drainBytes is how much of an unwanted body is read for the connection's sake.
const drainBytes = 256 << 10

// drain reads the rest of the request's body, unless the upstream has it in hand or
// the client waits to be asked for it.
func (x *exchange) drain() {
	w, ok := x.w.(deadliner)
	if !ok || x.body == nil || x.handedOn || x.r.Header.Get("Expect") != "" {
		return
	}
	_ = w.SetReadDeadline(clock().Add(clientPatience))
	_, _ = io.CopyN(io.Discard, x.body, drainBytes)
	_ = w.SetReadDeadline(time.Time{})
}

func (x *exchange) flush() {
	if f, ok := x.w.(http.Flusher); ok {
		f.Flush()
	}
}

// plainText sends a short answer of our own. Fields that were set stay.
func (x *exchange) plainText(status int, text string) {
	h := x.w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	x.writeHead(status)
	if x.r.Method != http.MethodHead {
		n, _ := x.w.Write([]byte(text))
		x.record.BodyBytes += int64(n)
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
