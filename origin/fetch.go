package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Fetch implements [Fetcher]. It waits for a free connection, sends the request and
// returns when the response's head is there. A request without a body, or with one
// that was not begun, is sent again on a new connection when a kept one turns out to
// be closed, if its method is idempotent (RFC 9110 §9.2.2); beyond that nothing is
// retried here. Request.Interim is told of interim responses.
func (p *Pool) Fetch(ctx context.Context, req *Request) (*Response, error) {
	u := p.upstream
	resp, err := u.fetch(ctx, req)
	if err != nil {
		u.counts.failed[err.Kind].Add(1)
		return nil, err
	}
	u.counts.answered.Add(1)
	return resp, nil
}

func (u *upstream) fetch(ctx context.Context, req *Request) (*Response, *Error) {
	upgrade := req.upgrade()
	req.clean(upgrade)
	if err := req.check(); err != nil {
		closeUnsent(req)
		return nil, &Error{Kind: ErrUnknown, Upstream: u.url, Err: err}
	}
	x := u.begin(ctx)
	if err := u.gate.enter(x.ctx, u.options.Header); err != nil {
		closeUnsent(req)
		x.stopLimits()
		defer x.cancel(nil)
		return nil, refused(x, err)
	}
	resp, err := x.roundTrip(req, upgrade)
	if err != nil {
		x.finish()
		return nil, err
	}
	return resp, nil
}

// refused is the error of a request that the gate let not in.
func refused(x *exchange, err error) *Error {
	var limit *limitError
	if errors.Is(err, errQueueFull) || errors.As(err, &limit) && x.ctx.Err() == nil {
		return x.error(ErrOverloaded, err)
	}
	return ended(x.ctx, x.upstream.url)
}

func closeUnsent(req *Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// roundTrip sends the request and makes the response of what comes.
func (x *exchange) roundTrip(req *Request, upgrade string) (*Response, *Error) {
	x.interim.tell = req.Interim
	sent := time.Now()
	answer, err := x.upstream.transport(upgrade).RoundTrip(x.outgoing(req))
	arrived := time.Now()
	x.head.stop()
	x.interim.end()
	if err != nil {
		return nil, x.headError(err)
	}
	if x.ctx.Err() != nil { // by a limit that fired as the head came
		answer.Body.Close()
		return nil, ended(x.ctx, x.upstream.url)
	}
	if err := x.check(answer, upgrade); err != nil {
		answer.Body.Close()
		return nil, err
	}
	return &Response{
		Status:        answer.StatusCode,
		Header:        answer.Header,
		Body:          x.receive(req.Method, answer),
		Trailer:       func() http.Header { return answer.Trailer },
		ContentLength: answer.ContentLength,
		Proto:         answer.Proto,
		Upstream:      x.upstream.url,
		RequestTime:   sent,
		ResponseTime:  arrived,
	}, nil
}

// outgoing is the request as the transport takes it.
func (x *exchange) outgoing(req *Request) *http.Request {
	u := x.upstream
	name := u.name(req)
	out := &http.Request{
		Method: req.Method,
		URL:    target(u.scheme, u.key(name), u.base+req.Path, req.Query),
		Host:   name,
		Header: req.Header,
	}
	switch {
	case req.Body == nil:
	case req.Body == http.NoBody || req.ContentLength == 0:
		req.Body.Close()
	default:
		out.Body = &upload{x: x, src: req.Body}
		out.ContentLength = req.ContentLength
	}
	return out.WithContext(httptrace.WithClientTrace(x.ctx, x.trace()))
}

// check refuses what net/http lets through and a cache must not pass on.
func (x *exchange) check(answer *http.Response, upgrade string) *Error {
	if err := x.checkFields(answer.Header); err != nil {
		return err
	}
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return x.checkUpgrade(answer, upgrade)
	}
	if answer.StatusCode < 200 {
		return x.error(ErrMalformed, fmt.Errorf("status %03d", answer.StatusCode))
	}
	return nil
}

func (x *exchange) checkFields(header http.Header) *Error {
	lines := 0
	for name, values := range header {
		lines += len(values)
		if !httpguts.ValidHeaderFieldName(name) {
			return x.error(ErrMalformed, fmt.Errorf("field name %.64q", name))
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return x.error(ErrMalformed, fmt.Errorf("value of the field %s: %.64q", name, value))
			}
		}
	}
	if lines > maxFields {
		return x.error(ErrHeaderSize, fmt.Errorf("%d field lines, %d are allowed", lines, maxFields))
	}
	return nil
}

// checkUpgrade lets a 101 pass only if it was asked for and names a protocol that
// was (RFC 9110 §7.8): else what follows would not be what the client thinks.
func (x *exchange) checkUpgrade(answer *http.Response, upgrade string) *Error {
	to := answer.Header.Get("Upgrade")
	if _, both := answer.Body.(io.ReadWriteCloser); !both || upgrade == "" || to == "" ||
		!httpguts.HeaderValuesContainsToken([]string{upgrade}, to) {
		return x.error(ErrUpgrade, fmt.Errorf("to %q, asked for %q", to, upgrade))
	}
	return nil
}

// receive makes the caller's body of the transport's. Where there is none the
// exchange ends here.
func (x *exchange) receive(method string, answer *http.Response) io.ReadCloser {
	if conn, both := answer.Body.(io.ReadWriteCloser); both && answer.StatusCode == http.StatusSwitchingProtocols {
		x.stopLimits()
		b := newBody(x, conn)
		x.detach = context.AfterFunc(x.ctx, func() { conn.Close() })
		return &tunnel{body: b, conn: conn}
	}
	if method == http.MethodHead || answer.ContentLength == 0 || answer.Body == http.NoBody ||
		answer.StatusCode == http.StatusNoContent || answer.StatusCode == http.StatusNotModified {
		answer.Body.Close()
		x.finish()
		return http.NoBody
	}
	return newBody(x, answer.Body)
}
