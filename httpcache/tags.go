package httpcache

import (
	"net/http"
	"strings"
)

// Bounds of the tags of one response; one that has more is not stored.
const (
	maxTags     = 1000
	maxTagBytes = 16 << 10
)

// tagFields are the fields that name the tags of a response.
var tagFields = [...]string{"Cache-Tag", "Surrogate-Key", "Xkey", "Edge-Cache-Tag"}

// tagField reports whether the name, in canonical form, is that of a tag field.
func tagField(name string) bool {
	for _, field := range tagFields {
		if name == field {
			return true
		}
	}
	return false
}

// parseTags returns the tags of all tag fields in order, each once. Cache-Tag
// and Edge-Cache-Tag separate by commas, Surrogate-Key by spaces, xkey by
// both; a tag never contains either, so all are read alike, except that a
// comma-separated tag may have inner spaces. all is false where there are more than
// are kept.
func parseTags(h http.Header) (tags []string, all bool) {
	var seen map[string]bool
	bytes := 0
	for _, field := range tagFields {
		for _, line := range h[field] {
			separators := ", \t"
			if field == "Cache-Tag" || field == "Edge-Cache-Tag" {
				separators = ","
			}
			for line != "" {
				var tag string
				if i := strings.IndexAny(line, separators); i >= 0 {
					tag, line = line[:i], line[i+1:]
				} else {
					tag, line = line, ""
				}
				if tag = trimOWS(tag); tag == "" || seen[tag] {
					continue
				}
				if bytes += len(tag); bytes > maxTagBytes || len(tags) == maxTags {
					return tags, false
				}
				if seen == nil {
					seen = make(map[string]bool)
				}
				seen[tag] = true
				tags = append(tags, tag)
			}
		}
	}
	return tags, true
}
