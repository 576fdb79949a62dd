package httpcache

import (
	"net/http"
	"net/url"
	"time"
)

// stub: the faces agreed on; the law fills them in.

type Key [16]byte

type Target struct {
	Scheme string // "http" or "https", as the client spoke to us
	Host   string // canonical host of the site
	Path   string // normalised, escaped, begins with "/"
	Query  string // without "?", as it is keyed and as the origin gets it
}

func (t Target) Key() Key                           { panic("stub") }
func CanonicalHost(hostport string) (string, bool)  { panic("stub") }
func NormalPath(escaped string) (string, bool)      { panic("stub") }

type Request struct{ stub int }

func NewRequest(r *http.Request) *Request      { panic("stub") }
func (q *Request) Reset(r *http.Request)       { panic("stub") }
func (q *Request) Method() string              { panic("stub") }
func (q *Request) Ranged() bool                { panic("stub") }

type SetCookie int

const (
	SetCookiePass SetCookie = iota
	SetCookieStrip
	SetCookieStore
)

type Rules struct {
	DefaultTTL      time.Duration
	TTLByStatus     map[int]time.Duration
	HonourRequest   bool
	SetCookie       SetCookie
	MaxBytes        int64
}

type Response struct {
	Status       int
	Header       http.Header
	ContentLength int64 // -1 unknown
	RequestTime  time.Time
	ResponseTime time.Time
}

type Stored struct{ stub int }
type VariantID uint64
type Refusal uint8

func (r Refusal) String() string { panic("stub") }

func NewStored(rules *Rules, req *Request, resp Response) (*Stored, Refusal) { panic("stub") }

func (s *Stored) Status() int                         { panic("stub") }
func (s *Stored) Header() http.Header                 { panic("stub") } // fields for clients; never written again
func (s *Stored) ETag() string                        { panic("stub") }
func (s *Stored) StrongValidator() string             { panic("stub") }
func (s *Stored) Vary() []string                      { panic("stub") }
func (s *Stored) Variant() VariantID                  { panic("stub") }
func (s *Stored) Tags() []string                      { panic("stub") }
func (s *Stored) Age(now time.Time) time.Duration     { panic("stub") }
func (s *Stored) Lifetime() time.Duration             { panic("stub") }
func (s *Stored) ResponseTime() time.Time             { panic("stub") }
func (s *Stored) SizeBytes() int64                    { panic("stub") } // memory that the metadata takes
func VariantOf(vary []string, req *Request) VariantID { panic("stub") }

func Select[T interface{ Stored() *Stored }](req *Request, variants []T) (best T, ok bool) { panic("stub") }

type Action uint8

const (
	Fetch Action = iota
	Serve
	ServeStale
	Validate
	Refuse
)

type Reason uint8

func (r Reason) String() string { panic("stub") }

type Decision struct {
	Action Action
	Reason Reason
	Age    time.Duration
	TTL    time.Duration // lifetime left, negative when stale
}

func Decide(rules *Rules, req *Request, s *Stored, now time.Time) Decision { panic("stub") }
func Freshen(rules *Rules, s *Stored, notModified Response) (*Stored, bool) { panic("stub") }
func Invalidates(req *Request, resp Response) []*url.URL { panic("stub") }

type Outcome uint8

const (
	Whole Outcome = iota
	Ranges
	NotModified
	PreconditionFailed
)

func Evaluate(req *Request, s *Stored) Outcome { panic("stub") }

type ByteRange struct{ First, Last int64 } // inclusive

func ParseRange(field string, size int64) ([]ByteRange, error) { panic("stub") }

// Fields

func ForwardHeader(h http.Header) http.Header      { panic("stub") } // clone without hop-by-hop and Connection-listed fields
func ClearConditionals(h http.Header)              { panic("stub") }
func SetValidators(h http.Header, s *Stored)       { panic("stub") }
func ResponseHeader(h http.Header) http.Header     { panic("stub") } // of a response that is passed, not stored

type CacheStatus struct {
	Hit       bool
	Fwd       Forward
	FwdStatus int
	TTL       time.Duration
	HasTTL    bool
	Stored    bool
	Collapsed bool
	Detail    string
}
type Forward uint8

const (
	FwdNone Forward = iota
	FwdBypass
	FwdMethod
	FwdURIMiss
	FwdVaryMiss
	FwdMiss
	FwdRequest
	FwdStale
	FwdPartial
)

func (c CacheStatus) Append(dst []byte, name string) []byte { panic("stub") }
