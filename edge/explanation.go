package edge

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Explanation is everything that decides about a request at one instant, and what
// would become of it. As JSON it is the answer of GET /v1/explain: all durations are
// numbers of seconds. Values of credentials and cookies stand in it by their length and
// a digest only.
type Explanation struct {
	Summary string    `json:"summary"` // one sentence
	At      time.Time `json:"at"`
	Cache   string    `json:"cache"` // the name in Cache-Status

	Request  ExplainedRequest  `json:"request"`
	Site     *ExplainedSite    `json:"site,omitempty"` // nil: the request came to none
	Rules    []ExplainedRule   `json:"rules"`          // of the site, in order
	Policy   *ExplainedPolicy  `json:"policy,omitempty"`
	Key      *ExplainedKey     `json:"key,omitempty"`
	Unshared *ExplainedUnshare `json:"unshareable,omitempty"`
	Waiting  int               `json:"waiting"` // requests that wait for the origin's answer to the same now

	Variants        []ExplainedVariant `json:"variants"`                    // all that is stored under the key
	VariantsLeftOut int                `json:"variants_left_out,omitempty"` // beyond the bound of this list

	Decision ExplainedDecision `json:"decision"`
}

// ExplainedRequest is the request in its normal form, as it is keyed and sent on.
type ExplainedRequest struct {
	Method  string   `json:"method"`
	Scheme  string   `json:"scheme"`
	Host    string   `json:"host"`
	Path    string   `json:"path"`
	Query   string   `json:"query"`              // without what the key leaves out
	LeftOut []string `json:"left_out,omitempty"` // parameters that are in no key and do not reach the origin
	Client  string   `json:"client,omitempty"`
	Country string   `json:"country,omitempty"` // where the key asks for it
}

// ExplainedSite is the site that a request is for.
type ExplainedSite struct {
	Name      string `json:"name"`
	MatchedBy string `json:"matched_by"` // name, alias, catch-all
}

// ExplainedRule is one rule of the site.
type ExplainedRule struct {
	Number  int    `json:"number"` // from 1
	Words   string `json:"words"`
	Outcome string `json:"outcome"` // one of the Rule… words
	// Variants are the stored variants whose response the rule matches, where it is
	// decided with the response.
	Variants []int `json:"variants,omitempty"`
}

// The outcomes of a rule.
const (
	RuleMatches      = "matches"
	RuleDoesNot      = "does not match"
	RuleWithResponse = "decided with the response"
)

// ExplainedPolicy is what the site and its rules come to, for the chosen variant's
// response if there is one, else as far as the request alone can tell.
type ExplainedPolicy struct {
	WithResponse         bool               `json:"with_response"` // of the chosen variant
	Bypass               bool               `json:"bypass"`
	Live                 bool               `json:"live"`
	TTL                  *Seconds           `json:"ttl,omitempty"` // of a rule; goes before every field
	DefaultTTL           Seconds            `json:"default_ttl"`
	TTLByStatus          map[string]Seconds `json:"ttl_by_status,omitempty"`
	NegativeTTL          Seconds            `json:"negative_ttl"`
	StaleWhileRevalidate Seconds            `json:"stale_while_revalidate"`
	StaleIfError         Seconds            `json:"stale_if_error"`
	ServeStaleOn         []string           `json:"serve_stale_on"`
	SetCookie            string             `json:"set_cookie"`
	DeceptionArmor       bool               `json:"deception_armor"`
	Override             []string           `json:"override"` // directives of the origin that are not obeyed
	RequestDirectives    string             `json:"request_directives"`
	RequestFields        []string           `json:"request_fields,omitempty"`  // set or removed towards the origin
	ResponseFields       []string           `json:"response_fields,omitempty"` // set or removed towards the client
}

// ExplainedKey is what a request's response is stored under, and what that is made of.
type ExplainedKey struct {
	Key    string           `json:"key"` // in hexadecimal, as in the access log
	Facets []ExplainedFacet `json:"facets,omitempty"`
	// NoVarySearch is the rule learned from the path's responses. The key is then made
	// of the reduced query, and PlainKey is the one without the rule, which is looked at
	// too.
	NoVarySearch string `json:"no_vary_search,omitempty"`
	ReducedQuery string `json:"reduced_query,omitempty"`
	PlainKey     string `json:"plain_key,omitempty"`
}

// ExplainedFacet is a part of the key beside scheme, host, path and query.
type ExplainedFacet struct {
	Name  string `json:"name"` // "header NAME", "cookie NAME", "country", "device"
	Value string `json:"value"`
}

// ExplainedUnshare says that requests for the key do not wait for each other.
type ExplainedUnshare struct {
	Until time.Time `json:"until"`
	// Reason is why the last response was not stored; empty where it was, but has to be
	// validated for each request, or could only be passed on.
	Reason string `json:"reason,omitempty"`
}

// ExplainedVariant is one stored response.
type ExplainedVariant struct {
	URL         string               `json:"url"`           // that it was fetched for
	Key         string               `json:"key,omitempty"` // if there are two, which one
	Selecting   []ExplainedSelecting `json:"selecting,omitempty"`
	Matches     bool                 `json:"matches"` // the request's selecting fields
	Chosen      bool                 `json:"chosen"`
	Invalidated bool                 `json:"invalidated"` // since it was fetched; it counts for nothing

	Status      int      `json:"status"`
	ContentType string   `json:"content_type,omitempty"`
	Size        *int64   `json:"size,omitempty"` // of the whole, nil unknown
	Complete    bool     `json:"complete"`       // no bytes are missing
	Parts       []string `json:"parts,omitempty"`
	Filling     bool     `json:"filling"`           // bytes are still arriving
	Passing     bool     `json:"passing,omitempty"` // and are only passed on
	Tier        string   `json:"tier"`
	Encodings   []string `json:"encodings,omitempty"` // in which it is stored too

	ETag         string   `json:"etag,omitempty"`
	LastModified string   `json:"last_modified,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	Groups       []string `json:"groups,omitempty"`
	EarlyHints   int      `json:"early_hints,omitempty"` // Link lines that a 103 repeats

	Date      time.Time          `json:"date"`
	Received  time.Time          `json:"received"`
	Age       Seconds            `json:"age"`
	Lifetime  Seconds            `json:"lifetime"`
	TTL       Seconds            `json:"ttl"` // lifetime left, negative when stale
	Reckoning ExplainedReckoning `json:"reckoning"`

	NoCache              bool    `json:"no_cache"`
	MustRevalidate       bool    `json:"must_revalidate"`
	StaleForbidden       bool    `json:"stale_forbidden"` // by a directive
	StaleWhileRevalidate Seconds `json:"stale_while_revalidate"`
	StaleIfError         Seconds `json:"stale_if_error"`
}

// ExplainedSelecting is a field that Vary names.
type ExplainedSelecting struct {
	Name    string  `json:"name"`
	Stored  *string `json:"stored"`  // normal value that the variant is for, nil for no such field
	Request *string `json:"request"` // that of the request
}

// ExplainedReckoning is how age and lifetime came about.
type ExplainedReckoning struct {
	Source    string   `json:"source"`              // what gave the lifetime
	Directive string   `json:"directive,omitempty"` // as it was understood
	Fields    []string `json:"fields,omitempty"`    // as they were sent

	InitialAge     Seconds `json:"initial_age"`
	InitialAgeFrom string  `json:"initial_age_from"` // date, age, delay, none
	ApparentAge    Seconds `json:"apparent_age"`
	AgeField       Seconds `json:"age_field"`
	ResponseDelay  Seconds `json:"response_delay"`
}

// ExplainedDecision is what would become of the request.
type ExplainedDecision struct {
	// Action is fetch, serve, serve-stale, validate or refuse, as the law decides, or one
	// of the Action… words.
	Action string `json:"action"`
	Reason string `json:"reason"` // as in the access log and Cache-Status
	Text   string `json:"text,omitempty"`
	// Variant is the index of the stored response that is served or validated.
	Variant *int     `json:"variant,omitempty"`
	Age     *Seconds `json:"age,omitempty"`
	TTL     *Seconds `json:"ttl,omitempty"`
	Status  int      `json:"status,omitempty"` // that the client gets; 0 = the origin's answer says
	// Encoding is the content coding in which the stored response is sent, if an encoder
	// is free where it has to be made.
	Encoding string `json:"encoding,omitempty"`
	// XCache is what X-Cache says; of a validation, if the origin confirms the response.
	XCache string `json:"x_cache,omitempty"`
	// CacheStatus is our member of Cache-Status. Where the origin is asked it has more
	// parameters, about the answer.
	CacheStatus string `json:"cache_status,omitempty"`
	Location    string `json:"location,omitempty"`
	// Refresh: the origin is asked in the background, for later requests.
	Refresh bool             `json:"refresh"`
	Origin  *ExplainedOrigin `json:"origin,omitempty"`
	// StaleOn are the troubles of the origin in which the stored response stands in.
	StaleOn []string `json:"stale_on,omitempty"`
}

// The actions beside those of the law.
const (
	ActionPass     = "pass"
	ActionRedirect = "redirect"
	ActionFail     = "fail"
	ActionAnswer   = "answer" // for this server itself
)

// ExplainedOrigin is what the origin would be asked.
type ExplainedOrigin struct {
	Method string `json:"method"`
	Target string `json:"target"` // path and query
	Kind   string `json:"kind"`   // one of the Ask… words
	// Fields are the request's conditions, range and accepted codings.
	Fields map[string]string `json:"fields,omitempty"`
	// Shared: one question is asked for all who want the same at the same time.
	Shared bool `json:"shared"`
}

// The kinds of question to the origin.
const (
	AskWhole    = "whole"
	AskRange    = "range"
	AskValidate = "conditional"
	AskAsSent   = "as-sent" // with the conditions and the range of the client
)

// Seconds is a duration that is a number of seconds in JSON, to the millisecond.
type Seconds time.Duration

// MarshalJSON implements [json.Marshaler].
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, math.Round(time.Duration(s).Seconds()*1000)/1000, 'f', -1, 64), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var n float64
	if err := json.Unmarshal(text, &n); err != nil {
		return err
	}
	*s = Seconds(math.Round(n*1000)) * Seconds(time.Millisecond)
	return nil
}

// String is the duration as people write it: the two largest of its units.
func (s Seconds) String() string {
	d := time.Duration(s)
	if d < 0 {
		return "-" + (-s).String()
	}
	if d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	if d < time.Minute && d%time.Second != 0 {
		return strconv.FormatFloat(d.Truncate(100*time.Millisecond).Seconds(), 'f', -1, 64) + "s"
	}
	text, left := "", 2
	for _, unit := range [...]struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		n := d / unit.of
		if n == 0 && text == "" {
			continue
		}
		if d -= n * unit.of; n > 0 {
			text += strconv.FormatInt(int64(n), 10) + unit.name
		}
		if left--; left == 0 {
			break
		}
	}
	return text
}

func seconds(d time.Duration) *Seconds { s := Seconds(d); return &s }
