package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

func (l *loader) buildCache(s *source, c *Cache, v *value) {
	set(&c.DefaultTTL, v, "default_ttl")
	if byStatus := v.get("ttl_by_status"); byStatus != nil && len(byStatus.fields) > 0 {
		c.TTLByStatus = make(map[int]time.Duration, len(byStatus.fields))
		for _, f := range byStatus.fields {
			status, _ := strconv.Atoi(f.name)
			c.TTLByStatus[status], _ = f.value.scalar.(time.Duration)
		}
	}
	set(&c.StaleWhileRevalidate, v, "stale_while_revalidate")
	set(&c.StaleIfError, v, "stale_if_error")
	if on := v.get("serve_stale_on"); on != nil {
		words := on.texts()
		c.ServeStaleOn = StaleOn{
			Error: contains(words, "error"), Timeout: contains(words, "timeout"), Status5xx: contains(words, "5xx"),
		}
	}
	setWord(&c.RequestDirectives, v, "request_directives", "ignore", "honour")
	setWord(&c.SetCookie, v, "set_cookie", "pass", "strip", "store")
	set(&c.DeceptionArmor, v, "deception_armor")
	set(&c.MaxObjectSize, v, "max_object_size")
	if k := v.get("key"); k != nil {
		c.Key = l.buildKeyChange(s, k).of(c.Key)
	}
	if rules := v.get("rules"); rules != nil {
		for _, rule := range rules.items {
			c.Rules = append(c.Rules, l.buildRule(s, rule))
		}
	}
}

// of is k with what the change names in place of its own.
func (c *KeyChange) of(k Key) Key {
	replace(&k.Query, c.Query)
	replace(&k.Headers, c.Headers)
	replace(&k.Cookies, c.Cookies)
	replace(&k.Country, c.Country)
	replace(&k.Device, c.Device)
	return k
}

func replace[T any](dst, by *T) {
	if by != nil {
		*dst = *by
	}
}

// optional is the value of a key that need not be there.
func optional[T any](block *value, name string) *T {
	if f := block.get(name); f != nil && f.scalar != nil {
		v := f.scalar.(T)
		return &v
	}
	return nil
}

// optionalTexts does the same for a list of strings.
func optionalTexts(block *value, name string) *[]string {
	if f := block.get(name); f != nil {
		texts := f.texts()
		return &texts
	}
	return nil
}

// buildKeyChange reads the key block of a site or a rule: the parts that it names.
func (l *loader) buildKeyChange(s *source, v *value) *KeyChange {
	out := &KeyChange{
		Headers: optionalTexts(v, "headers"),
		Cookies: optionalTexts(v, "cookies"),
		Country: optional[bool](v, "country"),
		Device:  optional[bool](v, "device"),
	}
	if query := v.get("query"); query != nil {
		out.Query = s.buildQuery(query)
	}
	parts := 0
	for _, names := range []*[]string{out.Headers, out.Cookies} {
		if names != nil {
			parts += len(*names)
		}
	}
	if parts > maxKeyParts {
		s.fault(v.at, v.path, fmt.Sprintf("%d headers and cookies, more than %d", parts, maxKeyParts),
			"each multiplies what is stored; keep those that responses really differ by")
	}
	if out.Country != nil && *out.Country && !l.knowsPlaces {
		s.fault(v.place("country"), join(v.path, "country"), "no country is known: the node file names no database",
			"add to "+l.files[0]+": geo: {databases: [GeoLite2-Country.mmdb]}")
	}
	return out
}

func (s *source) buildQuery(v *value) *Query {
	var out Query
	setTexts(&out.Include, v, "include")
	setTexts(&out.Exclude, v, "exclude")
	set(&out.Sort, v, "sort")
	set(&out.Ignore, v, "ignore")
	if out.Ignore && (out.Include != nil || out.Exclude != nil || out.Sort) {
		s.fault(v.place("ignore"), join(v.path, "ignore"), "the whole query is left out, so include, exclude and sort have no effect",
			"take ignore out, or keep it alone")
	}
	return &out
}

func (l *loader) buildRule(s *source, v *value) Rule {
	out := Rule{
		Words:                v.words(),
		Match:                s.buildMatch(v.get("match")),
		TTL:                  optional[time.Duration](v, "ttl"),
		StaleWhileRevalidate: optional[time.Duration](v, "stale_while_revalidate"),
		StaleIfError:         optional[time.Duration](v, "stale_if_error"),
		DeceptionArmor:       optional[bool](v, "deception_armor"),
	}
	if v.get("set_cookie") != nil {
		out.SetCookie = new(SetCookie)
		setWord(out.SetCookie, v, "set_cookie", "pass", "strip", "store")
	}
	set(&out.Bypass, v, "bypass")
	set(&out.Live, v, "live")
	if override := v.get("override"); override != nil {
		words := override.texts()
		out.OverridePrivate, out.OverrideNoStore = contains(words, "private"), contains(words, "no-store")
	}
	if k := v.get("key"); k != nil && len(k.fields) > 0 {
		out.Key = l.buildKeyChange(s, k)
	}
	headers := v.get("headers")
	out.Request = s.buildFields(headers.get("request"))
	out.Response = s.buildFields(headers.get("response"))
	if !v.isFlawed() {
		s.checkRule(v, out)
	}
	return out
}

// checkRule reports what a rule says in vain.
func (s *source) checkRule(v *value, r Rule) {
	if r.isIdle() {
		s.fault(v.at, v.path, "the rule changes nothing", "say what is different for these requests, for example: ttl: 10m")
	}
	if r.Bypass {
		for _, name := range []string{
			"ttl", "stale_while_revalidate", "stale_if_error", "set_cookie", "deception_armor", "override", "live",
		} {
			if f := v.get(name); f != nil && f.normal() != f.key.defaultValue().normal() {
				s.fault(v.place(name), join(v.path, name), "bypass stores nothing, so "+name+" has no effect", "keep one of the two")
			}
		}
	}
	if !r.Match.OnResponse() {
		return
	}
	by := "status"
	if len(r.Match.Status) == 0 {
		by = "content_type"
	}
	early := func(block *value, name, path string) {
		s.fault(block.place(name), join(v.path, path), path+" is decided before there is a response, and this rule matches by its "+by,
			"match by the request alone, or put it into a rule of its own")
	}
	if r.Bypass {
		early(v, "bypass", "bypass")
	}
	if r.Live {
		early(v, "live", "live")
	}
	if r.Key != nil {
		early(v, "key", "key")
	}
	if len(r.Request.Set)+len(r.Request.Remove) > 0 {
		early(v.get("headers"), "request", "headers.request")
	}
}

// isIdle reports whether the rule leaves everything as it is.
func (r Rule) isIdle() bool {
	isKept := r.TTL == nil && r.StaleWhileRevalidate == nil && r.StaleIfError == nil && r.SetCookie == nil && r.DeceptionArmor == nil
	isSilent := !r.Bypass && !r.OverridePrivate && !r.OverrideNoStore && !r.Live && r.Key == nil
	return isKept && isSilent && len(r.Request.Set)+len(r.Request.Remove)+len(r.Response.Set)+len(r.Response.Remove) == 0
}

func (s *source) buildMatch(v *value) Match {
	var out Match
	if v == nil {
		return out
	}
	if len(v.fields) == 0 && !v.isFlawed() {
		s.fault(v.at, v.path, "names nothing", `say which requests are meant, for example: match: {path: /static/*}; path: "*" is every request`)
	}
	setTexts(&out.Path, v, "path")
	setTexts(&out.Host, v, "host")
	setTexts(&out.Method, v, "method")
	out.Header = buildNamed(v.get("header"))
	out.Cookie = buildNamed(v.get("cookie"))
	out.Query = buildNamed(v.get("query"))
	if status := v.get("status"); status != nil {
		for _, text := range status.texts() {
			out.Status = append(out.Status, statusRange(text))
		}
	}
	setTexts(&out.ContentType, v, "content_type")
	return out
}

// buildNamed reads names that must be there, or a block of names with patterns.
func buildNamed(v *value) []Named {
	if v == nil {
		return nil
	}
	var out []Named
	for _, name := range v.texts() {
		out = append(out, Named{Name: name})
	}
	for _, f := range v.fields {
		for _, glob := range f.value.texts() {
			out = append(out, Named{Name: f.name, Value: glob, HasValue: true})
		}
	}
	return out
}

// statusRange reads what parseStatusRange has let pass.
func statusRange(text string) StatusRange {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	var out StatusRange
	out.First, _ = strconv.Atoi(first)
	out.Last, _ = strconv.Atoi(last)
	return out
}

func buildCompress(c *Compress, v *value) {
	if v == nil {
		return
	}
	c.Off = v.word
	setTexts(&c.Types, v, "types")
	set(&c.Min, v, "min")
	if encodings := v.get("encodings"); encodings != nil {
		c.Encodings = nil
		for _, word := range encodings.texts() {
			c.Encodings = append(c.Encodings, pick[Encoding](word, "none", "br", "zstd", "gzip"))
		}
	}
}

// buildGeo tries the databases: one that is not there is found here and not by a reload that has begun.
func (s *source) buildGeo(v *value) Geo {
	var out Geo
	databases := v.get("databases")
	if databases == nil {
		return out
	}
	out.Databases = databases.texts()
	for _, item := range databases.items {
		path, _ := item.scalar.(string)
		if err := readable(path); err != nil {
			hint := ""
			if near := nearFile(path); near != "" && errors.Is(err, fs.ErrNotExist) {
				hint = didYouMean(s.relative(near))
			}
			s.fault(item.at, item.path, "cannot read "+path+": "+reason(err), hint)
		}
	}
	return out
}
