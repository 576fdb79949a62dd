package edge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"perigee/httpcache"
)

// summary is what would happen, in one sentence.
func (x *explainer) summary() string {
	d := &x.Decision
	switch d.Action {
	case ActionAnswer:
		return fmt.Sprintf("perigee answers this itself: its health, %d.", d.Status)
	case ActionRedirect:
		return fmt.Sprintf("The client is redirected to %s (%d).", clip(d.Location), d.Status)
	case ActionFail, httpcache.Refuse.String():
		return fmt.Sprintf("The request is refused with %d %s: %s.", d.Status, http.StatusText(d.Status), x.reasonWords())
	case ActionPass:
		return fmt.Sprintf("The request is passed to the origin, past the cache: %s.", x.reasonWords())
	case httpcache.Serve.String():
		return x.servedWords()
	case httpcache.ServeStale.String():
		return x.staleWords()
	case httpcache.Validate.String():
		return fmt.Sprintf("The origin is asked whether the stored response, %s old, is still current: %s.", x.age(), x.reasonWords())
	}
	return x.fetchWords()
}

func (x *explainer) age() string { return x.Decision.Age.String() }

func (x *explainer) servedWords() string {
	if x.Decision.Status == 0 {
		return "The range is fetched from the origin by itself: the stored response is still arriving, and far from it."
	}
	text := fmt.Sprintf("A hit: the stored response is served, %s old and fresh for another %s%s.", x.age(), x.ttl(), x.statusWords())
	if x.Decision.Reason == httpcache.RequestMaxStale.String() {
		text = fmt.Sprintf("A hit: the stored response is served, %s old: %s%s.", x.age(), x.reasonWords(), x.statusWords())
	}
	if x.Decision.Refresh {
		text += " The origin is asked in the background already, so that it does not become stale."
	}
	return text
}

func (x *explainer) staleWords() string {
	if x.Decision.Reason == overloadReason {
		return "A stale response is served: this server has more requests in hand than it takes."
	}
	return fmt.Sprintf("The stored response is served, stale for %s%s, and the origin is asked in the background: %s.",
		-*x.Decision.TTL, x.statusWords(), x.reasonWords())
}

func (x *explainer) ttl() string { return x.Decision.TTL.String() }

// statusWords tells of an answer that is not the stored response itself.
func (x *explainer) statusWords() string {
	switch x.Decision.Status {
	case http.StatusNotModified:
		return ", by a 304 since the client's copy is current"
	case http.StatusPreconditionFailed:
		return ", but it does not meet the request's precondition: 412"
	case http.StatusPartialContent:
		return ", in the range asked for"
	case http.StatusRequestedRangeNotSatisfiable:
		return ", but the range asked for lies outside of it: 416"
	}
	return ""
}

func (x *explainer) fetchWords() string {
	what := "The response is fetched from the origin"
	if x.Decision.Origin != nil && x.Decision.Origin.Kind == AskRange {
		what = "The part " + strings.TrimPrefix(x.Decision.Origin.Fields[httpcache.RangeField], "bytes=") + " is fetched from the origin"
	}
	text := what + ": " + x.reasonWords() + "."
	switch {
	case x.Unshared == nil:
	case x.Unshared.Reason != "":
		text += fmt.Sprintf(" The last response was not stored: %s.", x.Unshared.Reason)
	default:
		text += " The last response could not be shared."
	}
	return text
}

// reasonWords says what a reason means, and its name.
func (x *explainer) reasonWords() string {
	name := x.Decision.Reason
	words := reasonTexts[name]
	switch {
	case x.Decision.Action == ActionFail && x.Decision.Text != "":
		words = strings.TrimSuffix(x.Decision.Text, ".")
	case name == httpcache.Miss.String() && x.hasInvalid():
		words = "what is stored was invalidated since it was fetched"
	case name == httpcache.VaryMiss.String():
		words = "what is stored is for other values of " + x.variesBy()
	case x.Decision.Action == httpcache.Fetch.String() && words != "" && x.Decision.Variant != nil && !x.hasValidator():
		words += ", and it cannot be validated"
	}
	if words == "" || words == name {
		return name
	}
	return words + " (" + name + ")"
}

// reasonTexts are the reasons of the log in other words.
var reasonTexts = map[string]string{
	httpcache.Miss.String():                 "nothing is stored for it",
	httpcache.Stale.String():                "it is past its lifetime",
	httpcache.NoCache.String():              "its directives want it validated each time",
	httpcache.MustRevalidate.String():       "it is past its lifetime, and its directives allow no other use of it",
	httpcache.StaleWhileRevalidate.String(): "it may be served while it is refreshed",
	httpcache.RequestNoCache.String():       "the request wants it validated",
	httpcache.RequestMaxAge.String():        "it is older than the request takes",
	httpcache.RequestMinFresh.String():      "it is not fresh for as long as the request wants",
	httpcache.RequestMaxStale.String():      "it is past its lifetime, and the request takes it",
	httpcache.PartMiss.String():             "what is stored lacks it",
	httpcache.OnlyIfCached.String():         "the request wants a stored response only, and none may be served",
	"method":                                "no stored response answers this method",
	"upgrade":                               "the client asks for another protocol",
	"bypass-rule":                           "a rule says bypass",
}

func (x *explainer) hasInvalid() bool {
	return slices.ContainsFunc(x.Variants, func(v ExplainedVariant) bool { return v.Invalidated })
}

func (x *explainer) hasValidator() bool {
	v := &x.Variants[*x.Decision.Variant]
	return v.ETag != "" || v.LastModified != ""
}

// variesBy lists the selecting fields of what is stored.
func (x *explainer) variesBy() string {
	var names []string
	for _, v := range x.Variants {
		for _, each := range v.Selecting {
			if name := http.CanonicalHeaderKey(each.Name); !v.Invalidated && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(few(names), ", ")
}
