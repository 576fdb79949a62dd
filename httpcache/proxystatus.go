package httpcache

import "strconv"

// ProxyStatus is what we say in Proxy-Status of a response that we made or passed
// on (RFC 9209). What is empty or zero is not said.
type ProxyStatus struct {
	Error          string // an error type of §2.3, a token; anything else is not said
	NextHop        string // whom we asked (§2.1.2)
	ReceivedStatus int    // the status that the next hop answered with (§2.1.4)
	Details        string // in words (§2.1.5)
}

// Append writes the list member of the proxy called name to dst. A name that is
// no token is written as a string; characters that cannot stand in one are left
// out.
func (p ProxyStatus) Append(dst []byte, name string) []byte {
	dst = appendBareItem(dst, name)
	if isStructuredToken(p.Error) {
		dst = append(append(dst, "; error="...), p.Error...)
	}
	if p.NextHop != "" {
		dst = appendBareItem(append(dst, "; next-hop="...), p.NextHop)
	}
	if p.ReceivedStatus > 0 {
		dst = strconv.AppendInt(append(dst, "; received-status="...), int64(p.ReceivedStatus), 10)
	}
	if p.Details == "" {
		return dst
	}
	dst = append(dst, "; details="...)
	if !isStructuredToken(p.Details) {
		return appendBareItem(dst, p.Details)
	}
	// Details are a string even where a token would do.
	return append(append(append(dst, '"'), p.Details...), '"')
}
