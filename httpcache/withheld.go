package httpcache

import (
	"net/http"
	"strings"
)

// Withheld returns the fields of a response that are stored for nobody, because
// no-cache or private names them, but belong to the client whose request brought
// it (RFC 9111 §5.2.2.4, §5.2.2.7); nil for none. What the rules strip stays out.
func Withheld(rules *Rules, resp Response) http.Header {
	cc := governing(rules, resp.Header)
	if !cc.qualifies() {
		return nil
	}
	var fields http.Header
	for name, values := range ResponseHeader(resp.Header) {
		if !cc.withholds(strings.ToLower(name)) || name == setCookieField && rules.SetCookie == SetCookieStrip {
			continue
		}
		if fields == nil {
			fields = make(http.Header)
		}
		fields[name] = values
	}
	return fields
}
