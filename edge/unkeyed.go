package edge

import (
	"net/http"
	"strings"
)

// untrusted are fields by which a client could tell an upstream something about
// itself or its way here that applications believe. What is true of it we write
// ourselves. Names are in canonical form.
var untrusted = [...]string{
	"Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
	"X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-By", "X-Forwarded-Prefix",
	"X-Forwarded-Path", "X-Forwarded-Uri", "X-Host", "X-Original-Host", "X-Http-Host-Override", "X-Url-Scheme",
	"X-Scheme", "Front-End-Https", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "Client-Ip", "True-Client-Ip",
	"Cf-Connecting-Ip", "Fastly-Client-Ip", "X-Originating-Ip", "X-Remote-Ip", "X-Remote-Addr", "Proxy",
	"X-Middleware-Subrequest",
}

// unkeyed are fields that make some applications answer as if the request were
// another one. They are not part of the key, so a shared response must not depend
// on them.
var unkeyed = [...]string{
	"X-Original-Url", "X-Rewrite-Url", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
	"Max-Forwards",
}

// dropUntrusted removes them, and every name with an underscore: to CGI and its
// kin X_Real_Ip is the same as X-Real-Ip.
func dropUntrusted(h http.Header) {
	for _, name := range untrusted {
		delete(h, name)
	}
	for name := range h {
		if strings.Contains(name, "_") {
			delete(h, name)
		}
	}
}

func dropUnkeyed(h http.Header) {
	for _, name := range unkeyed {
		delete(h, name)
	}
}
