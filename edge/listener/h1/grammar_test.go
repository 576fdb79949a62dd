package h1

import (
	"bytes"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// A second reading of RFC 9112, slow and by regular expressions, that shares nothing
// with the reader. It knows no limits: give it no long input.

const (
	tokenRE = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	valueRE = `[^\x00-\x08\x0a-\x1f\x7f]*`
	fieldRE = tokenRE + `:` + valueRE + `\r\n`
)

var (
	headRE    = regexp.MustCompile(`^(` + tokenRE + `) ([^\x00-\x20\x7f]+) HTTP/1\.([01])\r\n((?:` + fieldRE + `)*)\r\n`)
	chunkRE   = regexp.MustCompile(`^([0-9A-Fa-f]{1,16})(?:;` + tokenRE + `(?:=(?:` + tokenRE + `|"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"))?)*\r\n`)
	trailerRE = regexp.MustCompile(`^((?:` + fieldRE + `)*)\r\n`)
	pathRE    = regexp.MustCompile(`^/(?:[^%#?]|%[0-9A-Fa-f]{2})*(?:\?[^#]*)?$`)
	urlRE     = regexp.MustCompile(`^(?i:https?)://([^/?#]+)((?:/(?:[^%#?]|%[0-9A-Fa-f]{2})*)?(?:\?[^#]*)?)$`)
	hostRE    = regexp.MustCompile(`^([-A-Za-z0-9._~]{1,254}|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?$`)
)

// grammarMessages lists the messages that input begins with, each as its bytes.
func grammarMessages(input []byte) (messages []string) {
	for {
		for range 2 {
			input = bytes.TrimPrefix(input, []byte("\r\n"))
		}
		m := headRE.FindSubmatch(input)
		if m == nil {
			return messages
		}
		length, chunked, ok := grammarHead(string(m[1]), string(m[2]), string(m[3]), string(m[4]))
		if !ok {
			return messages
		}
		rest := input[len(m[0]):]
		if chunked {
			length, ok = grammarChunked(rest)
		}
		if !ok || length > int64(len(rest)) {
			return messages
		}
		end := len(m[0]) + int(length)
		messages = append(messages, string(input[:end]))
		input = input[end:]
	}
}

func grammarHead(method, target, minor, fields string) (length int64, chunked, ok bool) {
	var hosts, lengths, codings []string
	for line := range strings.SplitSeq(fields, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch asciiLower(name) {
		case "host":
			hosts = append(hosts, value)
		case "content-length":
			lengths = append(lengths, value)
		case "transfer-encoding":
			codings = append(codings, value)
		case "trailer":
			for each := range strings.SplitSeq(value, ",") {
				if grammarFraming(strings.Trim(each, " \t")) {
					return 0, false, false
				}
			}
		}
	}
	host := ""
	if len(hosts) > 0 {
		host = hosts[0]
	}
	switch {
	case len(method) > 32, method == "CONNECT",
		!grammarTarget(method, target, host, len(hosts) > 0),
		len(hosts) > 1, len(hosts) == 0 && minor == "1", len(hosts) == 1 && !grammarHost(host),
		len(lengths) > 1, len(codings) > 1,
		len(codings) == 1 && (len(lengths) > 0 || minor == "0" || asciiLower(codings[0]) != "chunked"):
		return 0, false, false
	case len(lengths) == 1:
		n, err := strconv.ParseInt(lengths[0], 10, 64)
		return n, false, err == nil && regexp.MustCompile(`^[0-9]{1,19}$`).MatchString(lengths[0])
	}
	return 0, len(codings) == 1, true
}

func grammarTarget(method, target, host string, known bool) bool {
	if target == "*" {
		return method == "OPTIONS"
	}
	if m := urlRE.FindStringSubmatch(target); m != nil {
		return grammarHost(m[1]) && (!known || asciiLower(m[1]) == asciiLower(host))
	}
	return pathRE.MatchString(target)
}

func grammarHost(host string) bool {
	m := hostRE.FindStringSubmatch(host)
	if m == nil {
		return false
	}
	if m[2] != "" {
		if a, err := netip.ParseAddr(m[2]); err != nil || !a.Is6() {
			return false
		}
	}
	if port, err := strconv.Atoi(m[3]); m[3] != "" && (err != nil || port > 65535 || port == 0 && len(m[3]) == 5) {
		return false
	}
	return true
}

func grammarFraming(name string) bool {
	return strings.Contains("|host|trailer|content-length|transfer-encoding|", "|"+asciiLower(name)+"|") && name != ""
}

// grammarChunked is how long a chunked body is.
func grammarChunked(rest []byte) (length int64, ok bool) {
	whole := len(rest)
	for {
		m := chunkRE.FindSubmatch(rest)
		if m == nil {
			return 0, false
		}
		size, err := strconv.ParseUint(string(m[1]), 16, 64)
		rest = rest[len(m[0]):]
		if err != nil || size > uint64(len(rest)) {
			return 0, false
		}
		if size == 0 {
			break
		}
		var crlf bool
		if rest, crlf = bytes.CutPrefix(rest[size:], []byte("\r\n")); !crlf {
			return 0, false
		}
	}
	m := trailerRE.FindSubmatch(rest)
	if m == nil {
		return 0, false
	}
	for line := range strings.SplitSeq(string(m[1]), "\r\n") {
		if name, _, _ := strings.Cut(line, ":"); grammarFraming(name) {
			return 0, false
		}
	}
	return int64(whole - len(rest) + len(m[0])), true
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return string(b)
}
