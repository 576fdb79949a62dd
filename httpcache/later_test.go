package httpcache

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// What a row of the tables may say beside what table_test.go knows: the rules of
// a site, and responses that arrive after the stored one.

func (l *law) siteRule(t *testing.T, name, value string) bool {
	t.Helper()
	switch name {
	case "ttl":
		l.rules.TTL, l.rules.HasTTL = duration(t, value), true
	case "ttl-of-errors":
		l.rules.TTLOfErrors = true
	case "negative":
		l.rules.NegativeTTL = duration(t, value)
	case "armor":
		l.rules.DeceptionArmor = true
	case "override":
		l.rules.OverridePrivate = l.rules.OverridePrivate || value == "private"
		l.rules.OverrideNoStore = l.rules.OverrideNoStore || value == "no-store"
	default:
		return false
	}
	return true
}

func (l *law) setLater(t *testing.T, word, rest string) bool {
	t.Helper()
	switch word {
	case "path":
		uri, err := url.ParseRequestURI(rest)
		if err != nil {
			t.Fatal(err)
		}
		l.first.URL = uri
	case "early":
		l.resp.Early = append(l.resp.Early, rest)
	case "304-early":
		l.notModified.Early = append(l.notModified.Early, rest)
	case "part":
		addLater(t, &l.part, http.StatusPartialContent, rest)
	case "head":
		addLater(t, &l.head, http.StatusOK, rest)
	case "head-status":
		l.head.Status = int(number(t, rest))
	case "size":
		l.size = number(t, rest)
	default:
		return false
	}
	return true
}

func addLater(t *testing.T, resp **Response, status int, field string) {
	t.Helper()
	if *resp == nil {
		*resp = &Response{Status: status, Header: http.Header{}, ContentLength: -1}
	}
	if field != "" {
		addField(t, (*resp).Header, field)
	}
}

// checkLater compares one item of the last column; mine is false where it is not
// of these.
func (l *law) checkLater(s *Stored, want string) (got string, ok, mine bool) {
	word, rest, _ := strings.Cut(want, " ")
	switch word {
	case "combined", "not-combined":
		fresh, why := Combine(&l.rules, s, NewRequest(l.then), *l.part)
		if why != Storable {
			got = "not-combined " + why.String()
			return got, got == want && fresh == nil, true
		}
		got, ok = l.becomes(s, fresh, word == "combined", "combined ", rest)
		return got, ok, true
	case "head-updated", "head-stale", "head-ignored":
		fresh, ok := UpdateByHead(&l.rules, s, NewRequest(l.then), l.size, *l.head)
		switch {
		case !ok && fresh == s:
			return "head-ignored", word == "head-ignored", true
		case !ok:
			return "head-stale", word == "head-stale" && fresh == nil, true
		}
		got, ok = l.becomes(s, fresh, word == "head-updated", "head-updated ", rest)
		return got, ok, true
	case "reckoned":
		r := s.Reckoning()
		got = fmt.Sprintf("reckoned source=%s lifetime=%s age=%s apparent=%s value=%s delay=%s no-cache=%t must-revalidate=%t swr=%s sie=%s",
			r.Source, r.Lifetime, r.InitialAge, r.ApparentAge, r.AgeValue, r.ResponseDelay, r.NoCache, r.MustRevalidate,
			r.StaleWhileRevalidate, r.StaleIfError)
		return got, hasWords(got, rest), true
	case "directive":
		got = s.Reckoning().Directive
		return fmt.Sprintf("directive %q", got), got == rest, true
	case "groups":
		got = fmt.Sprintf("groups %q", s.Groups())
		return got, got == want, true
	case "early":
		got = fmt.Sprintf("early %q", s.Early())
		return got, got == want, true
	case "transformable":
		got = fmt.Sprintf("transformable %t", s.Transformable())
		return got, got == want, true
	case "part-of":
		got = "part-of nothing"
		if r, size, ok := PartOf(l.resp); ok {
			got = fmt.Sprintf("part-of %d-%d/%d", r.First, r.Last, size)
		}
		return got, got == want, true
	}
	return "", false, false
}

// becomes compares what s has become; later items of the row look at that.
func (l *law) becomes(s, fresh *Stored, expected bool, word, rest string) (got string, ok bool) {
	got = fmt.Sprintf("%slifetime=%s age=%s etag=%s tags=%s", word, fresh.Lifetime(), fresh.Age(l.at), fresh.ETag(), strings.Join(fresh.Tags(), ","))
	if !expected || !hasWords(got, rest) {
		return got, false
	}
	*s = *fresh
	return got, true
}
