package edge

import (
	"net/http"
	"slices"
	"strings"
)

// untrustedPrefixes begin the names of fields by which proxies tell applications
// of a request's way, and which applications believe. A client that sent them would
// be believed too; what is true of its way we write ourselves.
var untrustedPrefixes = [...]string{"X-Forwarded", "X-Original", "X-Rewrite", "X-Envoy-", "X-Perigee-"}

// untrusted are further such fields. Names are in canonical form.
var untrusted = [...]string{
	"Forwarded", "X-Host", "X-Http-Host-Override", "X-Backend-Host", "X-Server-Name", "X-Url-Scheme", "X-Scheme",
	"X-Arr-Ssl", "Front-End-Https", "Fastly-Ssl", "Fastly-Host", "Fastly-Ff", "Cf-Visitor", "Cloudfront-Forwarded-Proto",
	"X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Cluster-Ip", "X-Cdn-Src-Ip", "Client-Ip", "True-Client-Ip",
	"Cf-Connecting-Ip", "Cf-Ipcountry", "Fastly-Client-Ip", "Wl-Proxy-Client-Ip", "X-Proxyuser-Ip", "X-Azure-Clientip",
	"X-Custom-Ip-Authorization", "X-Originating-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Nginx-Proxy", "X-Proxy-Url",
	"Surrogate-Capability", "Proxy", "Proxy-Host", "X-Middleware-Subrequest", "X-Accel-Mapping", "X-Sendfile-Type",
}

// unkeyed are fields that make some applications answer as if the request were
// another one, or that mean nothing in a request without a body. They are not part
// of the key, so a shared response must not depend on them.
var unkeyed = [...]string{
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Override-Url", "X-Http-Path-Override",
	"X-Http-Destinationurl", "X-Http-Url", "X-Waws-Unencoded-Url", "X-Invoke-Path", "X-Matched-Path", "X-Now-Route-Matches",
	"X-Nextjs-Data", "X-Middleware-Prefetch", "X-Uri", "X-Amz-Website-Redirect-Location", "Destination", "Base-Url",
	"Http-Url", "Request-Uri", "Redirect", "Uri", "Url", "Max-Forwards",
	"X-Wap-Profile", "X-Ats-Device", "Age", "Date", "Server", "Location", "Set-Cookie",
	"Content-Type", "Content-Encoding", "Content-Language", "Content-Md5", "Content-Disposition", "Content-Location",
	"Content-Range",
}

// dropUntrusted removes what nobody but us should say, and every name with an
// underscore: to CGI and its kin X_Real_Ip is the same as X-Real-Ip.
func dropUntrusted(h http.Header) {
	for _, name := range untrusted {
		delete(h, name)
	}
	for name := range h {
		if strings.Contains(name, "_") || untrustedPrefix(name) {
			delete(h, name)
		}
	}
}

func untrustedPrefix(name string) bool {
	for _, prefix := range untrustedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// dropUnkeyed removes what a shared response must not depend on, but for what the key
// holds.
func (k *KeySpec) dropUnkeyed(h http.Header) {
	for _, name := range unkeyed {
		if !slices.Contains(k.Headers, name) {
			delete(h, name)
		}
	}
}

// dropped tells whether a client's field of that name never reaches the upstream.
func (k *KeySpec) dropped(name string) bool {
	if slices.Contains(untrusted[:], name) || untrustedPrefix(name) || strings.Contains(name, "_") {
		return true
	}
	return slices.Contains(unkeyed[:], name) && !slices.Contains(k.Headers, name)
}
