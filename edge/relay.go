package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
)

// relay sends a response that is nobody else's.
func (x *exchange) relay(response *origin.Response, result Result, status httpcache.CacheStatus) {
	defer response.Body.Close()
	x.record.Cache, x.record.Tier = result, tierOrigin
	x.record.UpstreamStatus = response.Status
	h := x.w.Header()
	copyFields(h, httpcache.ResponseHeader(response.Header))
	x.markResponse(h, result, status)
	if response.ContentLength >= 0 && h.Get("Content-Length") == "" && x.r.Method != http.MethodHead && bodyAllowed(response.Status) {
		h.Set("Content-Length", itoa(response.ContentLength))
	}
	x.writeHead(response.Status)
	if x.r.Method == http.MethodHead || !bodyAllowed(response.Status) {
		return
	}
	if err := x.copyBody(response.Body, response.ContentLength < 0); err != nil {
		x.record.Aborted = true
		if errors.Is(err, errClient) || x.ctx.Err() != nil {
			x.record.Reason = "client-left"
		} else {
			x.record.UpstreamError = "body-incomplete"
		}
	}
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
	}
	if body, ok := r.(*endingBody); ok {
		// The fetch was begun for others too, so it does not know of this client.
		stop := context.AfterFunc(x.ctx, body.end)
		defer stop()
	}
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			written, werr := x.w.Write(buf[:n])
			x.record.BodyBytes += int64(written)
			if werr != nil {
				return errClient
			}
			if n < len(buf) && err == nil {
				x.flush()
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
	if validator == "" {
		return errNoValidator
	}
	last := ""
	if p.n >= 0 {
		last = itoa(p.off + p.n - 1)
	}
	e := errandFor(x, nil, httpcache.Decision{}, httpcache.FwdPartial)
	request := e.request(true)
	request.Header.Set("Range", "bytes="+itoa(off)+"-"+last)
	request.Header.Set("If-Range", validator)
	response, err := x.site.Origin.Fetch(x.ctx, request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := sameRest(response, validator, off); err != nil {
		return err
	}
	return x.copyBody(response.Body, false)
}

// sameRest checks that a response is the part from off of the representation that
// validator names.
func sameRest(response *origin.Response, validator string, off int64) error {
	var first int64
	_, err := fmt.Sscanf(response.Header.Get("Content-Range"), "bytes %d-", &first)
	if response.Status != http.StatusPartialContent || err != nil || first != off {
		return fmt.Errorf("%w: the upstream answered %d instead of the rest", cachestore.ErrDetached, response.Status)
	}
	if validator[0] == '"' && response.Header.Get("Etag") != validator {
		return fmt.Errorf("%w: the upstream has another version now", cachestore.ErrDetached)
	}
	return nil
}
