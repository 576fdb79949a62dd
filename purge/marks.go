package purge

import (
	"strconv"
	"strings"

	"perigee/cachestore"
)

// maxPrefixes is how many segments of a path have marks of their own. What is deeper
// is struck by any purge of a deeper prefix that shares the first ones.
const maxPrefixes = 64

// Beginnings of the tags that every response has by itself.
const (
	statusTag = "status="
	typeTag   = "type="
)

// Marks returns every mark by which a purge can strike s, in the same order for equal
// subjects. The slice is the caller's. It may be called concurrently.
func (l *Ledger) Marks(s cachestore.Subject) []cachestore.Mark {
	marks := make([]cachestore.Mark, 0, boundMarks(&s))
	add := func(h sip) { marks = append(marks, mark(h)) }
	add(l.begin(KindEverything, ""))
	add(l.begin(KindSite, s.Site))
	marks = l.hostMarks(marks, s.Site, s.Host)
	marks = l.urlMarks(marks, &s, s.Host)
	if s.Site == catchAll {
		marks = l.urlMarks(marks, &s, anyHost)
	}
	if s.Class != "" {
		add(l.name(KindClass, s.Site, s.Class))
	}
	begun := l.begin(KindTag, s.Site)
	tag := func(head, text string) {
		h := begun
		h.text(head)
		h.text(text)
		add(h)
	}
	if s.Status != 0 {
		tag(statusTag, strconv.Itoa(s.Status))
	}
	if s.MediaType != "" {
		tag(typeTag, mediaType(s.MediaType))
	}
	for _, each := range s.Tags {
		if media, typed := strings.CutPrefix(each, typeTag); typed {
			tag(typeTag, mediaType(media))
			continue
		}
		tag("", each)
	}
	for _, group := range s.Groups {
		marks = append(marks, l.GroupMark(s.Site, s.Scheme, s.Host, group))
	}
	return marks
}

// MarkOf returns the mark that an entry of this kind and value strikes. A kind that is
// none strikes everything.
func (l *Ledger) MarkOf(site string, kind Kind, value string) cachestore.Mark {
	switch kind {
	case KindURL, KindPath, KindHost, KindClass:
		return mark(l.name(kind, site, value))
	case KindTag:
		return mark(l.name(kind, site, plainTag(value)))
	case KindSite:
		return mark(l.begin(kind, site))
	case KindPrefix:
		host, path, _, _ := splitURL(value)
		return l.prefixMark(site, host, path)
	}
	return mark(l.begin(KindEverything, ""))
}

// GroupMark returns the mark of a cache group of one origin (RFC 9875 §2).
func (l *Ledger) GroupMark(site, scheme, host, group string) cachestore.Mark {
	h := l.begin(kindGroup, site)
	h.sized(scheme)
	h.sized(host)
	h.text(group)
	return mark(h)
}

// boundMarks is at least the number of marks of s.
func boundMarks(s *cachestore.Subject) int {
	url := 4 + min(strings.Count(s.Path, "/")+1, maxPrefixes)
	if s.Site == catchAll {
		url *= 2
	}
	return 6 + url + strings.Count(s.Host, ".") + len(s.Tags) + len(s.Groups)
}

// hostMarks adds the marks of a host and of all names above it.
func (l *Ledger) hostMarks(marks []cachestore.Mark, site, host string) []cachestore.Mark {
	marks = append(marks, mark(l.name(KindHost, site, host)))
	if strings.HasPrefix(host, "[") {
		return marks
	}
	begun := l.begin(KindHost, site)
	begun.octet('*')
	for i := range len(host) {
		if host[i] == '.' {
			h := begun
			h.text(host[i:])
			marks = append(marks, mark(h))
		}
	}
	return marks
}

// urlMarks adds the marks of the URL of s on a host.
func (l *Ledger) urlMarks(marks []cachestore.Mark, s *cachestore.Subject, host string) []cachestore.Mark {
	url := l.name(KindURL, s.Site, host)
	url.text(s.Path)
	if s.Query != "" {
		url.octet('?')
		url.text(s.Query)
	}
	path := l.name(KindPath, s.Site, host)
	path.text(s.Path)
	prefix := l.name(KindPrefix, s.Site, host)
	marks = append(marks, mark(url), mark(path), mark(prefix))
	done, depth := 0, 0
	for end := range prefixes(s.Path) {
		if depth == maxPrefixes {
			deep := l.name(kindDeep, s.Site, host)
			deep.text(s.Path[:done])
			return append(marks, mark(deep))
		}
		prefix.text(s.Path[done:end])
		marks = append(marks, mark(prefix))
		done = end
		depth++
	}
	return marks
}

// prefixMark is the mark of a prefix, or the one that stands for all that are deeper
// than marks go.
func (l *Ledger) prefixMark(site, host, path string) cachestore.Mark {
	last, depth := 0, 0
	for end := range prefixes(path) {
		if depth == maxPrefixes {
			deep := l.name(kindDeep, site, host)
			deep.text(path[:last])
			return mark(deep)
		}
		last = end
		depth++
	}
	prefix := l.name(KindPrefix, site, host)
	prefix.text(path[:last])
	return mark(prefix)
}

// prefixes yields where the prefixes of a path end, the root aside: after each
// segment that is not empty.
func prefixes(path string) func(yield func(end int) bool) {
	return func(yield func(int) bool) {
		for i := 1; i <= len(path); i++ {
			if path[i-1] != '/' && (i == len(path) || path[i] == '/') && !yield(i) {
				return
			}
		}
	}
}

// plainTag is the tag as it is compared: media types have no case.
func plainTag(tag string) string {
	if media, ok := strings.CutPrefix(tag, typeTag); ok {
		return typeTag + mediaType(media)
	}
	return tag
}

// mediaType is the type and subtype of a Content-Type (RFC 9110 §8.3.1).
func mediaType(field string) string {
	essence, _, _ := strings.Cut(field, ";")
	return strings.ToLower(strings.Trim(essence, " \t"))
}

// begin is the hash of what the marks of one kind in one site have in common.
func (l *Ledger) begin(kind Kind, site string) sip {
	h := l.seed
	h.octet(byte(kind))
	h.sized(site)
	return h
}

func (l *Ledger) name(kind Kind, site, value string) sip {
	h := l.begin(kind, site)
	h.text(value)
	return h
}

// mark keeps 0 for an empty slot of a table.
func mark(h sip) cachestore.Mark { return cachestore.Mark(max(h.sum(), 1)) }

// URLMark returns the mark of a URL with this query, in both schemes.
func (l *Ledger) URLMark(site, host, path, query string) cachestore.Mark {
	if query != "" {
		path += "?" + query
	}
	return l.MarkOf(site, KindURL, host+path)
}

// ClassMark returns the mark of a class of URLs.
func (l *Ledger) ClassMark(site, class string) cachestore.Mark {
	return l.MarkOf(site, KindClass, class)
}
