package testorigin

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// part is what of the answer a request gets.
type part struct {
	status   int
	from, to int64
}

func (p part) hasBody() bool {
	return p.status != http.StatusNotModified && p.status != http.StatusNoContent
}

// partOf applies conditions and ranges to a 200 answer; h gets Content-Range.
func (a *Answer) partOf(r *http.Request, h http.Header, size int64) part {
	whole := part{status: a.Status, to: size}
	if whole.status == 0 {
		whole.status = http.StatusOK
	}
	if whole.status != http.StatusOK || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return whole
	}
	if !a.Stubborn && unmodified(r.Header, h) {
		return part{status: http.StatusNotModified}
	}
	if a.Only206 && r.Method == http.MethodGet && size > 0 {
		n := min(a.Part, size)
		if n == 0 {
			n = (size + 1) / 2
		}
		return partial(h, 0, n, size)
	}
	if a.NoRanges || r.Method == http.MethodHead {
		return whole
	}
	h.Set("Accept-Ranges", "bytes")
	field := r.Header.Get("Range")
	if field == "" || !mayRange(r.Header.Get("If-Range"), h) {
		return whole
	}
	from, to, ok := byteRange(field, size)
	if !ok {
		return whole
	}
	if from >= to {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return part{status: http.StatusRequestedRangeNotSatisfiable}
	}
	return partial(h, from, to, size)
}

func partial(h http.Header, from, to, size int64) part {
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
	return part{status: http.StatusPartialContent, from: from, to: to}
}

// unmodified is RFC 9110 §13.2.2 as far as an origin of GET needs it.
func unmodified(request, answer http.Header) bool {
	if fields := request.Values("If-None-Match"); len(fields) > 0 {
		etag := weak(answer.Get("ETag"))
		for tag := range strings.SplitSeq(strings.Join(fields, ","), ",") {
			tag = strings.TrimSpace(tag)
			if etag != "" && (tag == "*" || weak(tag) == etag) {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(request.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(answer.Get("Last-Modified"))
	return err == nil && !modified.After(since)
}

func weak(tag string) string { return strings.TrimPrefix(tag, "W/") }

// mayRange is RFC 9110 §13.1.5. A date need not be older than the answer to be
// strong: this origin knows that nothing changed twice in a second (§8.8.2.2).
func mayRange(condition string, answer http.Header) bool {
	switch {
	case condition == "":
		return true
	case strings.HasSuffix(condition, `"`):
		return condition == answer.Get("ETag") && !strings.HasPrefix(condition, "W/")
	}
	asked, err := http.ParseTime(condition)
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(answer.Get("Last-Modified"))
	return err == nil && modified.Equal(asked)
}

// byteRange reads a single byte range; ok is false for what is to be ignored, and
// from >= to means that it cannot be satisfied.
func byteRange(field string, size int64) (from, to int64, ok bool) {
	spec, found := strings.CutPrefix(field, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return 0, 0, false
	}
	if first == "" {
		n, err := strconv.ParseUint(last, 10, 62)
		return max(size-int64(n), 0), size, err == nil
	}
	start, err := strconv.ParseUint(first, 10, 62)
	if err != nil {
		return 0, 0, false
	}
	if last == "" {
		return int64(start), size, true
	}
	end, err := strconv.ParseUint(last, 10, 62)
	if err != nil || end < start {
		return 0, 0, false
	}
	return int64(start), min(int64(end)+1, size), true
}

// acceptKey is RFC 6455 §4.2.2, for clients that check it.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
