package config

import (
	"fmt"
	"strconv"
	"strings"
)

// kind is what a scalar means. Each has a name in words, a unit or form for the documentation, a pattern for editors, an
// example for messages and a parser.
type kind uint8

const (
	kindNone kind = iota
	kindText
	kindName
	kindLabel
	kindEmail
	kindBool
	kindInt
	kindFloat
	kindDuration
	kindSize
	kindRate
	kindByteRate
	kindBandwidth
	kindAddress
	kindPeer
	kindIP
	kindCIDR
	kindHost
	kindURL
	kindURLPath
	kindPath
	kindSecret
	kindVariable
	kindInstant
	kindFiles
	kindGlob
	kindPathGlob
	kindHostGlob
	kindMediaGlob
	kindParamGlob
	kindParam
	kindCookie
	kindMethod
	kindStatus
	kindStatusRange
	kindFieldName
	kindMatchField
	kindKeyField
	kindFieldValue
	kinds // how many there are
)

// kindInfo is what is known of a kind. parse returns the value (its Go type is said below) or what is wrong with the text.
type kindInfo struct {
	article string // "a duration"
	form    string // how it is written, for the documentation
	pattern string // regular expression of the text, for editors; "" = any
	json    string // JSON type when it is not a string
	example string
	parse   func(text string) (any, *fault)
}

// fault is why a scalar is refused, and what to write instead.
type fault struct{ message, hint string }

func faultf(hint, format string, args ...any) *fault {
	return &fault{message: fmt.Sprintf(format, args...), hint: hint}
}

func (k kind) info() kindInfo { return kindTable[k] }

// kindTable holds every kind at its own place; it is only read. Values are strings where the comment says nothing else.
var kindTable = [kinds]kindInfo{
	kindNone: {},
	kindText: {
		article: "text", form: "text", example: "some text",
		parse: parseText,
	},
	kindName: {
		article: "a name", form: "name", pattern: `^[A-Za-z0-9]([A-Za-z0-9._-]{0,62})$`, example: "fra-1",
		parse: parseName,
	},
	kindLabel: {
		article: "a DNS label", form: "DNS label", pattern: `^[a-z0-9]([a-z0-9-]{0,62})$`, example: "www",
		parse: parseLabel,
	},
	kindEmail: {
		article: "an e-mail address", form: "e-mail address", pattern: `^[^@ ]+@[^@ ]+$`, example: "ops@example.com",
		parse: parseEmail,
	},
	kindBool: { // bool
		article: "true or false", form: "true or false", json: "boolean", example: "true",
		parse: parseBool,
	},
	kindInt: { // int
		article: "a whole number", form: "whole number", json: "integer", example: "100",
		parse: parseInt,
	},
	kindFloat: { // float64
		article: "a number", form: "number", json: "number", example: "50.11",
		parse: parseFloat,
	},
	kindDuration: { // time.Duration
		article: "a duration", form: "duration: `ms s m h d`, as in `1h30m`", pattern: `^(0|([0-9]+(ms|[smhd]))+)$`, example: "30s",
		parse: parseDuration,
	},
	kindSize: { // int64, bytes
		article: "a size", form: "size: `B KB MB GB TB KiB MiB GiB TiB`", pattern: `^(0|[0-9]+([KMGT]i?)?B)$`, example: "512MiB",
		parse: parseSize,
	},
	kindRate: { // rate
		article: "a rate", form: "rate: `/s /m /h`", pattern: `^[0-9]+/[smh]$`, example: "100/s",
		parse: parseRate,
	},
	kindByteRate: { // int64, bytes per second
		article: "a size per second", form: "size per second", pattern: `^(0|[0-9]+([KMGT]i?)?B)/s$`, example: "1KiB/s",
		parse: parseByteRate,
	},
	kindBandwidth: { // int64, bits per second
		article: "a bandwidth", form: "bandwidth: `bit Kbit Mbit Gbit Tbit`", pattern: `^[0-9]+[KMGT]?bit$`, example: "10Gbit",
		parse: parseBandwidth,
	},
	kindAddress: {
		article: "an address", form: "address to listen on: `HOST:PORT` or `:PORT`", pattern: `^.*:[0-9]+$`, example: `":8080"`,
		parse: parseAddress,
	},
	kindPeer: {
		article: "a host with or without a port", form: "`HOST` or `HOST:PORT`", example: `"10.0.0.9:7946"`,
		parse: parsePeer,
	},
	kindIP: {
		article: "an IP address", form: "IP address", pattern: `^[0-9a-fA-F:.]+$`, example: "192.0.2.10",
		parse: parseIP,
	},
	kindCIDR: {
		article: "a network", form: "network (CIDR) or IP address", pattern: `^[0-9a-fA-F:.]+(/[0-9]+)?$`, example: "10.0.0.0/8",
		parse: parseCIDR,
	},
	kindHost: {
		article: "a host name", form: "host name", example: "www.example.com",
		parse: parseHost,
	},
	kindURL: { // parsed by parseURL, which knows the schemes
		article: "a URL", form: "URL", pattern: `^[a-z]+://.+$`, example: "https://origin.example.com",
		parse: parseText,
	},
	kindURLPath: {
		article: "a URL path", form: "URL path", pattern: `^/`, example: "/healthz",
		parse: parseURLPath,
	},
	kindPath: {
		article: "a path", form: "path, relative to this file", example: "/var/lib/perigee",
		parse: parsePath,
	},
	kindSecret: {
		article: "a path", form: "path of a secret's file, relative to this file", example: "admin.token",
		parse: parsePath,
	},
	kindVariable: { // the secret that the variable holds; that one is named is seen to before
		article: "a variable", form: "variable: `${NAME}`", pattern: `^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`, example: `"${CMS_TOKEN}"`,
		parse: parseHeldSecret,
	},
	kindInstant: { // time.Time, in UTC
		article: "a date or an instant", form: "date or instant (RFC 3339): `2027-01-31` or `2027-01-31T18:00:00Z`",
		pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[-+][0-9:]+))?$`, example: "2027-01-31",
		parse: parseInstant,
	},
	kindFiles: {
		article: "a path or pattern", form: "path or pattern, relative to this file", example: "sites/*.yaml",
		parse: parseFiles,
	},
	kindGlob: {
		article: "a pattern", form: "pattern (`*` stands for any characters)", pattern: `^.+$`, example: "pro*",
		parse: parseGlob,
	},
	kindPathGlob: {
		article: "a pattern of paths", form: "pattern of paths (`*` stands for any characters, `/` among them)", pattern: `^[/*][^ ?#]*$`,
		example: "/static/*", parse: parsePathGlob,
	},
	kindHostGlob: {
		article: "a pattern of host names", form: "pattern of host names (`*` stands for any characters)", example: `"*.example.com"`,
		parse: parseHostGlob,
	},
	kindMediaGlob: {
		article: "a pattern of media types", form: "pattern of media types (`*` stands for any characters)", pattern: `^[^ ;]*[/*][^ ;]*$`,
		example: "text/*", parse: parseMediaGlob,
	},
	kindParamGlob: {
		article: "a pattern of parameter names", form: "pattern of parameter names (`*` stands for any characters)", pattern: `^[^&=#]+$`,
		example: "utm_*", parse: parseParamGlob,
	},
	kindParam: {
		article: "the name of a parameter", form: "name of a parameter", pattern: `^[^&=#]+$`, example: "preview",
		parse: parseParam,
	},
	kindCookie: {
		article: "the name of a cookie", form: "name of a cookie", pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$", example: "session",
		parse: parseCookie,
	},
	kindMethod: {
		article: "a method", form: "method", pattern: "^[-!#$%&'*+.^_`|~0-9A-Z]+$", example: "GET",
		parse: parseMethod,
	},
	kindStatus: { // int
		article: "a status code", form: "status code", pattern: `^[2-5][0-9][0-9]$`, json: "integer", example: "404",
		parse: parseStatus,
	},
	kindStatusRange: {
		article: "a status code or a range of them", form: "status code or range", pattern: `^[2-5][0-9][0-9](-[2-5][0-9][0-9])?$`, example: "200-399",
		parse: parseStatusRange,
	},
	kindFieldName: {
		article: "a field name", form: "field name", pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$", example: "X-Served-By",
		parse: parseFieldName,
	},
	kindMatchField: {
		article: "a field name", form: "field name", pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$", example: "X-Plan",
		parse: parseMatchField,
	},
	kindKeyField: {
		article: "a field name", form: "field name", pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$", example: "X-Tenant",
		parse: parseKeyField,
	},
	kindFieldValue: {
		article: "a field value", form: "field value", example: "perigee",
		parse: parseFieldValue,
	},
}

func parseText(s string) (any, *fault) { return s, nil }

func parsePath(s string) (any, *fault) {
	if s == "" || strings.ContainsRune(s, 0) {
		return nil, faultf("name a file or folder", "%s is not a path", quote(s))
	}
	return s, nil
}

func parseBool(s string) (any, *fault) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	hint := ""
	switch strings.ToLower(s) {
	case "yes", "on", "true", "y", "1":
		hint = "did you mean true?"
	case "no", "off", "false", "n", "0":
		hint = "did you mean false?"
	}
	return nil, faultf(hint, "%s is neither true nor false", quote(s))
}

func parseInt(s string) (any, *fault) {
	n, ok := digits(s)
	if ok && n <= 1<<31-1 {
		return int(n), nil
	}
	if plain := strings.NewReplacer("_", "", ",", "", "'", "").Replace(s); plain != s {
		if _, ok := digits(plain); ok {
			return nil, faultf(didYouMean(plain), "%s is not a whole number", quote(s))
		}
	}
	return nil, faultf("write digits only, as in 100", "%s is not a whole number from 0 to 2147483647", quote(s))
}

func parseFloat(s string) (any, *fault) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || n != n || n > 1e15 || n < -1e15 {
		return nil, faultf("for example: 50.11", "%s is not a number", quote(s))
	}
	return n, nil
}

// digits reads a number of digits only, without a needless zero in front.
func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// quote shows a value in a message, cut where it is long.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "..."
	}
	return strconv.Quote(s)
}
