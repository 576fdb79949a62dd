package origin

import (
	"context"
	"errors"
	"io"
	"net/http/httptrace"
	"runtime"
	"sync"
	"sync/atomic"
)

// exchange is one request and its response: what bounds it, and what it holds until
// it ends. Nothing in it points to the body that the caller holds, so that a body
// that was dropped is noticed.
type exchange struct {
	upstream *upstream
	ctx      context.Context // ends with the caller's, by a limit, or in finish; kept to name the reason
	cancel   context.CancelCauseFunc

	total limit // all of it
	send  limit // the upstream takes no byte of the request
	head  limit // the upstream sends no head
	read  limit // the upstream sends no byte of its body

	connected atomic.Bool               // the transport had a connection: errors are the upstream's
	upload    atomic.Pointer[uploadEnd] // reading the request's body failed
	interim   interim                   // tells the caller of interim responses

	src     io.ReadCloser // the transport's body
	detach  func() bool   // stops watching ctx for an upgrade; nil = does not watch
	cleanup runtime.Cleanup
	once    sync.Once
}

// begin starts an exchange; finish ends it.
func (u *upstream) begin(ctx context.Context) *exchange {
	x := &exchange{upstream: u}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	o := &u.options
	x.total = limit{what: "not the whole response", after: o.Total, upstream: u.url, end: x.cancel}
	x.send = limit{what: "took no byte of the request", after: o.Idle, upstream: u.url, end: x.cancel}
	x.head = limit{what: "no response head", after: o.Header, upstream: u.url, end: x.cancel}
	x.read = limit{what: "no byte of the body", after: o.Idle, upstream: u.url, end: x.cancel}
	x.total.arm()
	return x
}

// finish frees what the exchange holds, its place in the gate included. It is for
// exchanges that entered the gate, and may be called again.
func (x *exchange) finish() {
	x.once.Do(func() {
		x.cleanup.Stop()
		if x.detach != nil {
			x.detach()
		}
		x.stopLimits()
		x.cancel(nil)
		x.upstream.gate.leave()
		if x.upstream.closed.Load() {
			x.upstream.closeIdle()
		}
	})
}

func (x *exchange) stopLimits() {
	for _, each := range []*limit{&x.total, &x.send, &x.head, &x.read} {
		each.stop()
	}
}

// trace tells the limits how far the transport is. The transport may call it from
// several goroutines, again when it tries another connection, and late. Interim
// responses touch no limit, so that they do not put off the end of any.
func (x *exchange) trace() *httptrace.ClientTrace {
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			x.connected.Store(true)
			x.interim.again()
			x.send.arm()
		},
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			x.send.disarm()
			if info.Err == nil {
				x.head.arm()
			}
		},
	}
	if x.interim.wanted() {
		trace.Got1xxResponse = x.gotInterim
	}
	return trace
}

// headError is the error of an exchange that came to no response head.
func (x *exchange) headError(err error) *Error {
	if typed := x.known(err); typed != nil {
		return typed
	}
	if !x.connected.Load() {
		return x.error(ErrUnknown, err)
	}
	return x.error(exchangeKind(err, false), err)
}

// bodyError is the error of an exchange whose response body broke.
func (x *exchange) bodyError(err error) *Error {
	if typed := x.known(err); typed != nil {
		return typed
	}
	return x.error(exchangeKind(err, true), err)
}

// known finds the reasons that are not the upstream's words: a limit of ours, a
// dial, the caller, the caller's client. nil if err is none of them.
func (x *exchange) known(err error) *Error {
	var typed *Error
	if errors.As(err, &typed) {
		return typed
	}
	if end := x.upload.Load(); end != nil {
		return x.error(ErrCanceled, end.err)
	}
	if x.ctx.Err() != nil {
		return ended(x.ctx, x.upstream.url)
	}
	return nil
}

func (x *exchange) error(kind ErrorKind, err error) *Error {
	return &Error{Kind: kind, Upstream: x.upstream.url, Err: err}
}
