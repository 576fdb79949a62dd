package origin

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"time"
)

// stub: the faces agreed on.

type Request struct {
	Method        string
	Path          string // escaped, normalised, begins with "/"
	Query         string // without "?"
	SiteHost      string // canonical host of the site
	ClientHost    string // the Host that the client sent, canonical form without port
	Header        http.Header // end-to-end fields (and Connection/Upgrade for an upgrade); owned by the Fetcher
	Body          io.ReadCloser
	ContentLength int64
}

type Response struct {
	Status        int
	Header        http.Header
	Body          io.ReadCloser // never nil; for 101 it is also an io.Writer
	ContentLength int64         // -1 unknown
	Proto         string
	Upstream      string // URL of the upstream that answered
	RequestTime   time.Time
	ResponseTime  time.Time
}

type Fetcher interface {
	Fetch(ctx context.Context, req *Request) (*Response, error)
}

type ErrorKind uint8

const (
	ErrUnknown ErrorKind = iota
	ErrResolve
	ErrConnect
	ErrTLS
	ErrTimeout
	ErrReset
	ErrMalformed
	ErrOverloaded
	ErrForbidden
	ErrCanceled
)

func (k ErrorKind) String() string { panic("stub") }

type Error struct {
	Kind     ErrorKind
	Upstream string
	Err      error
}

func (e *Error) Error() string { panic("stub") }
func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Status() int { panic("stub") } // 502, 503 or 504

type HostMode uint8

const (
	HostUpstream HostMode = iota
	HostSite
	HostClient
	HostName
)

type Options struct {
	Upstream string // URL: scheme://authority[/base path]
	Host HostMode
	HostName string
	Connect, TLS, Header, Idle, Total time.Duration
	Connections int
	Queue int
	Forbidden func(netip.AddrPort) bool
	Dial func(ctx context.Context, network, addr string) (c interface{}, err error)
}
