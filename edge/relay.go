package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"perigee/cachestore"
	"perigee/httpcache"
	"perigee/origin"
)

// relayBytes is the buffer of a body that is passed on without being stored.
const relayBytes = 32 << 10

var relayBuffers = sync.Pool{New: func() any { return new([relayBytes]byte) }}

var (
	errClient      = errors.New("the client left")
	errNoValidator = errors.New("no strong validator to go on with")
	errOtherRest   = errors.New("the upstream did not give the rest of the same representation")
)

// relay sends a response that is nobody else's.
func (x *exchange) relay(response *origin.Response, result Result, status httpcache.CacheStatus) {
	defer response.Body.Close()
	x.record.Cache, x.record.Tier = result, tierOrigin
	x.record.UpstreamStatus = response.Status
	x.final = x.answerPolicy(response.Status, response.Header)
	h := x.w.Header()
	copyFields(h, httpcache.ResponseHeader(response.Header))
	x.markResponse(h, result, status)
	coder := x.codeRelay(response, result)
	if coder == nil && response.ContentLength >= 0 && h.Get("Content-Length") == "" && x.r.Method != http.MethodHead && bodyAllowed(response.Status) {
		h.Set("Content-Length", itoa(response.ContentLength))
	}
	x.writeHead(response.Status)
	if x.r.Method == http.MethodHead || !bodyAllowed(response.Status) {
		return
	}
	if err := x.copyRelayed(response, coder); err != nil {
		x.cut(err)
		return
	}
	x.sendTrailers(response)
}

// sendTrailers passes trailers on over HTTP/2, for gRPC and its like, which cannot
// do without. All others end here: what stands in a trailer was not there when the
// response was judged, and HTTP/1.1 clients mix it up with the head.
func (x *exchange) sendTrailers(response *origin.Response) {
	if x.r.ProtoMajor < 2 || response.Trailer == nil ||
		!strings.HasPrefix(response.Header.Get(httpcache.ContentTypeField), "application/grpc") {
		return
	}
	h := x.w.Header()
	for name, values := range response.Trailer() {
		h[http.TrailerPrefix+name] = values
	}
}

// cut ends a response so that the client can see that it is not whole.
func (x *exchange) cut(err error) {
	x.record.Aborted = true
	if errors.Is(err, errClient) || x.ctx.Err() != nil {
		x.record.Reason = "client-left"
		return
	}
	x.record.UpstreamError = "body-incomplete"
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// copyBody sends what r gives. A read that did not fill the buffer was all there
// is for now, so it is flushed: events and long polls are not held back.
func (x *exchange) copyBody(r io.Reader, live bool) error {
	buf := relayBuffers.Get().(*[relayBytes]byte)
	defer relayBuffers.Put(buf)
	if live {
		x.flush()
		x.unpace()
	}
	if body, ok := r.(*endingBody); ok {
		// The fetch was begun for others too, so it does not know of this client.
		stop := context.AfterFunc(x.ctx, body.end)
		defer stop()
	}
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if err := x.send(buf[:n]); err != nil {
				return err
			}
			if n < len(buf) && err == nil {
				x.flush()
				x.unpace() // it is not the client that we wait for now
			}
		}
		if err != nil {
			return ignoreEOF(err)
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// goOn sends the rest of a body that the store passed on but did not keep, from
// the offset off, by a range request of this client's own. The validator makes
// sure that it is the rest of the same representation; without a strong one the
// response is cut.
func (x *exchange) goOn(o *cachestore.Object, off int64, p part) error {
	validator := o.Stored().StrongValidator()
	size, known := o.Size()
	if validator == "" || !known {
		return errNoValidator
	}
	rest := httpcache.ByteRange{First: off, Last: size - 1}
	if p.n >= 0 {
		rest.Last = p.off + p.n - 1
	}
	if !x.retrieves() {
		return errOtherRest // it must not be done again
	}
	e := errandFor(x, nil, httpcache.Decision{Reason: httpcache.Miss})
	request := e.request(forAll)
	request.Header.Set("Range", "bytes="+itoa(rest.First)+"-"+itoa(rest.Last))
	request.Header.Set("If-Range", validator)
	response, err := x.site.Origin.Fetch(x.ctx, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.Status != http.StatusPartialContent ||
		response.Header.Get(httpcache.ContentRangeField) != httpcache.ContentRange(rest, size) ||
		validator[0] == '"' && response.Header.Get(httpcache.ETagField) != validator {
		return errOtherRest
	}
	before := x.record.BodyBytes
	if err := x.copyBody(response.Body, false); err != nil {
		return err
	}
	if x.record.BodyBytes-before != rest.Length() {
		return errOtherRest
	}
	return nil
}
