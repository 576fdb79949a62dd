package httpcache

import (
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The oracle is the law a second time, as long and as plain as RFC 9111 §3 and §4
// say it, with a reading of fields of its own: nothing here may call what it
// judges. It only says what is allowed. Whatever Decide serves must be.

type saying struct {
	name, argument string
	argued         bool
}

// hear splits a Cache-Control.
func hear(lines []string) []saying {
	var all []saying
	for _, line := range lines {
		var member strings.Builder
		quoted, escaped := false, false
		for _, c := range []byte(line + ",") {
			switch {
			case escaped:
				escaped = false
			case quoted && c == '\\':
				escaped = true
			case c == '"':
				quoted = !quoted
			}
			if c == ',' && !quoted {
				if text := strings.Trim(member.String(), " \t"); text != "" {
					name, argument, argued := strings.Cut(text, "=")
					if spaced := strings.Trim(name, " \t"); spaced != name {
						name, argument = spaced, " "+argument
					}
					all = append(all, saying{strings.ToLower(name), argument, argued})
				}
				member.Reset()
				continue
			}
			member.WriteByte(c)
		}
		if quoted { // the string has no end: what began it is one broken member
			text := strings.TrimSuffix(member.String(), ",")
			name, _, _ := strings.Cut(strings.Trim(text, " \t"), "=")
			all = append(all, saying{strings.ToLower(strings.Trim(name, " \t")), `"`, true})
		}
	}
	return all
}

func said(all []saying, name string) bool {
	return slices.ContainsFunc(all, func(s saying) bool { return s.name == name })
}

// saidPlainly reports a directive without a list of fields.
func saidPlainly(all []saying, name string) bool {
	return slices.ContainsFunc(all, func(s saying) bool { return s.name == name && !s.argued })
}

// saidInNumbers reports a directive that has a number each time it stands there.
func saidInNumbers(all []saying, name string) bool {
	return said(all, name) && !slices.ContainsFunc(all, func(s saying) bool {
		return s.name == name && !numeral.MatchString(strings.NewReplacer(`"`, "", `\`, "").Replace(s.argument))
	})
}

var numeral = regexp.MustCompile(`^[0-9]+$`)

// seconds is the first directive of that name: RFC 9111 §4.2.1 lets the first of
// several count, or less. An invalid one is no time at all.
func seconds(all []saying, name string) (time.Duration, bool) {
	for _, s := range all {
		if s.name == name {
			text := s.argument
			if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
				text = strings.ReplaceAll(text[1:len(text)-1], `\`, "")
			}
			return count(text), true
		}
	}
	return 0, false
}

func count(digits string) time.Duration {
	if !numeral.MatchString(digits) {
		return 0
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || n > 1<<31 {
		n = 1 << 31
	}
	return time.Duration(n) * time.Second
}

var (
	sfMember = regexp.MustCompile(`^([a-z*][a-z0-9_.*-]*)(?:=(-?[0-9]{1,15}|-?[0-9]{1,12}\.[0-9]{1,3}|"(?:[ !#-\[\]-~]|\\["\\])*"|\?[01]|[A-Za-z*][!#$%&'*+.^_|~0-9A-Za-z:/` + "`" + `-]*))?((?:; *[a-z*][a-z0-9_.*-]*(?:=(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|"(?:[ !#-\[\]-~]|\\["\\])*"|\?[01]|[A-Za-z*][!#$%&'*+.^_|~0-9A-Za-z:/` + "`" + `-]*))?)*)$`)
	sfOdd    = regexp.MustCompile(`=[(:@%]`)
	sfNumber = regexp.MustCompile(`^[0-9]{1,15}$`)
)

// hearTargeted reads a structured dictionary without inner lists, byte sequences,
// dates and display strings. judged is false where it has one of these.
func hearTargeted(lines []string) (all []saying, valid, judged bool) {
	text := strings.TrimLeft(strings.Join(lines, ", "), " ")
	if sfOdd.MatchString(text) {
		return nil, false, false
	}
	last := map[string]string{}
	var member strings.Builder
	quoted, escaped := false, false
	var members []string
	for _, c := range []byte(text) {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		}
		if c == ',' && !quoted {
			members = append(members, member.String())
			member.Reset()
			continue
		}
		member.WriteByte(c)
	}
	members = append(members, member.String())
	for i, m := range members {
		m = strings.TrimRight(m, " \t")
		if i > 0 {
			m = strings.TrimLeft(m, " \t")
		}
		parts := sfMember.FindStringSubmatch(m)
		if parts == nil {
			return nil, false, true
		}
		last[parts[1]] = parts[2]
	}
	for name, value := range last {
		switch {
		case value == "?0", strings.HasPrefix(value, "-"), strings.Contains(value, ".") && numeral.MatchString(value[:1]):
			all = append(all, saying{name: "void-" + name})
		case value == "" || value == "?1":
			if name != "max-age" && name != "s-maxage" && name != "stale-while-revalidate" && name != "stale-if-error" {
				all = append(all, saying{name: name})
			}
		case sfNumber.MatchString(value):
			if name == "max-age" || name == "s-maxage" || name == "stale-while-revalidate" || name == "stale-if-error" {
				all = append(all, saying{name, value, true})
			}
		case name == "no-cache" || name == "private":
			all = append(all, saying{name, value, true})
		}
	}
	return all, len(last) > 0, true
}

var dateShapes = regexp.MustCompile(`^([A-Za-z]{3}, \d\d [A-Za-z]{3} \d{4} \d\d:\d\d:\d\d GMT|[A-Za-z]+, \d\d-[A-Za-z]{3}-\d\d \d\d:\d\d:\d\d GMT|[A-Za-z]{3} [A-Za-z]{3} [ \d]\d \d\d:\d\d:\d\d \d{4})$`)

// when reads a date. judged is false for the two-digit years and leap seconds
// whose meaning other tests hold.
func when(text string) (t time.Time, valid, judged bool) {
	if upper := strings.ToUpper(text); strings.HasSuffix(upper, " GMT") {
		text = text[:len(text)-3] + "GMT" // RFC 9111 §4.2: in any case
	}
	if strings.Contains(text, ":60") || strings.Count(text, "-") == 2 {
		return t, false, false
	}
	if !dateShapes.MatchString(text) || len(text) > 40 {
		return t, false, true
	}
	t, err := http.ParseTime(text)
	return t.UTC(), err == nil, true
}

// trial is what is judged.
type trial struct {
	rules       Rules
	first, then *http.Request
	resp        Response
	now         time.Time
}

// verdict says whether the stored response may be sent without asking the origin,
// and whether it may be sent when the origin is in trouble. judged is false where
// the oracle does not know its way.
func (c *trial) verdict() (serve, inTrouble, judged bool) {
	directives, targeted, judged := c.governing()
	if !judged {
		return false, false, false
	}
	if c.rules.OverridePrivate {
		directives = slices.DeleteFunc(directives, func(s saying) bool { return s.name == "private" })
	}
	if c.rules.OverrideNoStore {
		directives = slices.DeleteFunc(directives, func(s saying) bool { return s.name == "no-store" })
	}
	date, age, judged := c.ages()
	if !judged {
		return false, false, false
	}
	lifetime, explicit, judged := c.lifetime(directives, targeted, date)
	if !judged {
		return false, false, false
	}
	if !c.mayStore(directives, explicit) || !c.selects() || c.then.Method != "GET" && c.then.Method != "HEAD" {
		return false, false, true
	}
	wish := c.wishes()
	if saidPlainly(directives, "no-cache") || said(wish, "no-cache") {
		return false, false, true
	}
	if limit, ok := seconds(wish, "max-age"); ok && (age > limit || limit == 0) {
		return false, false, true
	}
	if least, ok := seconds(wish, "min-fresh"); ok && lifetime-age < least {
		return false, false, true
	}
	if lifetime > age {
		return true, true, true
	}
	// §4.2.4: stale, and here only what somebody allows.
	if said(directives, "must-revalidate") || said(directives, "proxy-revalidate") || said(directives, "s-maxage") {
		return false, false, true
	}
	staleness := age - lifetime
	window := c.rules.StaleWhileRevalidate
	if w, ok := seconds(directives, "stale-while-revalidate"); ok {
		window = w
	}
	if staleness < window {
		serve = true
	}
	if saidPlainly(wish, "max-stale") {
		serve = true
	} else if most, ok := seconds(wish, "max-stale"); ok && staleness <= most {
		serve = true
	}
	window = c.rules.StaleIfError
	if w, ok := seconds(directives, "stale-if-error"); ok {
		window = w
	}
	return serve, staleness < window, true
}

// governing is RFC 9213 §2.2. Surrogate-Control is left to the tables.
func (c *trial) governing() (directives []saying, targeted, judged bool) {
	for _, name := range []string{"Perigee-Cdn-Cache-Control", "Cdn-Cache-Control"} {
		if lines, present := c.resp.Header[name]; present && len(lines) > 0 {
			all, valid, judged := hearTargeted(lines)
			if !judged || valid {
				return all, valid, judged
			}
		}
	}
	return hear(c.resp.Header["Cache-Control"]), false, true
}

// mayStore is RFC 9111 §3 and §3.5 for a GET.
func (c *trial) mayStore(directives []saying, explicit bool) bool {
	status := c.resp.Status
	byDefault := slices.Contains([]int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}, status)
	understand := said(directives, "must-understand")
	switch {
	case status < 200, status == 304, status == 206:
		return false
	case understand && http.StatusText(status) == "", understand && status == 418:
		return false
	case said(directives, "no-store") && !understand:
		return false
	case saidPlainly(directives, "private"):
		return false
	case c.first.Header["Authorization"] != nil && !said(directives, "public") && !said(directives, "must-revalidate") && !saidInNumbers(directives, "s-maxage"):
		return false
	case c.rules.HonourRequest && said(hear(c.first.Header["Cache-Control"]), "no-store"):
		return false
	case strings.Contains(strings.Join(c.resp.Header["Vary"], ","), "*"):
		return false
	}
	return explicit || byDefault || said(directives, "public")
}

// ages is RFC 9111 §4.2.3.
func (c *trial) ages() (date time.Time, age time.Duration, judged bool) {
	date = c.resp.ResponseTime.Truncate(time.Second)
	if lines := c.resp.Header["Date"]; len(lines) == 1 {
		sent, valid, judged := when(lines[0])
		if !judged {
			return date, 0, false
		}
		if valid {
			date = sent
		}
	}
	apparent := max(0, c.resp.ResponseTime.Truncate(time.Second).Sub(date))
	if !date.Before(c.resp.RequestTime.Truncate(time.Second)) {
		apparent = 0
	}
	value := time.Duration(0)
	if lines := c.resp.Header["Age"]; len(lines) > 0 {
		first, _, _ := strings.Cut(lines[0], ",")
		value = count(strings.Trim(first, " \t"))
	}
	corrected := value + c.resp.ResponseTime.Sub(c.resp.RequestTime)
	resident := max(0, c.now.Sub(c.resp.ResponseTime))
	if most := time.Duration(1<<31) * time.Second; resident > most || apparent > most {
		return date, most, true
	}
	return date, max(apparent, corrected) + resident, true
}

// lifetime is RFC 9111 §4.2.1 and §4.2.2 with the rules.
func (c *trial) lifetime(directives []saying, targeted bool, date time.Time) (length time.Duration, explicit, judged bool) {
	length, explicit, judged = c.uncapped(directives, targeted, date)
	if most := time.Duration(1<<31) * time.Second; length > most {
		length = most
	}
	if c.rules.NegativeTTL > 0 && (c.resp.Status == 404 || c.resp.Status == 410) && (length > c.rules.NegativeTTL || !explicit && c.rules.DefaultTTL == 0) {
		length = c.rules.NegativeTTL
	}
	return length, explicit, judged
}

func (c *trial) uncapped(directives []saying, targeted bool, date time.Time) (length time.Duration, explicit, judged bool) {
	if c.rules.HasTTL && c.resp.Status < 400 {
		return c.rules.TTL, true, true
	}
	if length, ok := seconds(directives, "s-maxage"); ok {
		return length, true, true
	}
	if length, ok := seconds(directives, "max-age"); ok {
		return length, true, true
	}
	if lines := c.resp.Header["Expires"]; !targeted && len(lines) > 0 {
		least := time.Duration(math.MaxInt64)
		for _, line := range lines {
			at, valid, judged := when(line)
			if !judged {
				return 0, false, false
			}
			if !valid {
				at = date
			}
			least = min(least, max(0, at.Sub(date)))
		}
		return least, true, true
	}
	if length, ok := c.rules.TTLByStatus[c.resp.Status]; ok {
		return length, true, true
	}
	if c.rules.DefaultTTL > 0 {
		return c.rules.DefaultTTL, false, true
	}
	if lines := c.resp.Header["Last-Modified"]; len(lines) == 1 {
		modified, valid, judged := when(lines[0])
		if !judged {
			return 0, false, false
		}
		if valid && modified.Before(date) {
			return min(date.Sub(modified)/10, 24*time.Hour), false, true
		}
	}
	return 0, false, true
}

// selects is RFC 9111 §4.1 for the field Foo; other fields are left to the
// tables.
func (c *trial) selects() bool {
	varies := false
	for _, name := range strings.Split(strings.Join(c.resp.Header["Vary"], ","), ",") {
		varies = varies || strings.EqualFold(strings.Trim(name, " \t"), "foo")
	}
	return !varies || slices.Equal(members(c.first.Header["Foo"]), members(c.then.Header["Foo"])) &&
		(c.first.Header["Foo"] == nil) == (c.then.Header["Foo"] == nil)
}

func members(lines []string) []string {
	var all []string
	for _, member := range strings.Split(strings.Join(lines, ","), ",") {
		if member = strings.Trim(member, " \t"); member != "" {
			all = append(all, member)
		}
	}
	return all
}

// wishes is RFC 9111 §5.2.1 and §5.4, as far as they are honoured.
func (c *trial) wishes() []saying {
	if !c.rules.HonourRequest {
		return nil
	}
	if lines := c.then.Header["Cache-Control"]; len(lines) > 0 {
		return hear(lines)
	}
	if slices.ContainsFunc(members(c.then.Header["Pragma"]), func(m string) bool { return strings.EqualFold(m, "no-cache") }) {
		return []saying{{name: "no-cache"}}
	}
	return nil
}

func oracleRules(flags uint8) Rules {
	rules := Rules{
		HonourRequest: flags&1 != 0, HasTTL: flags&2 != 0, TTL: 40 * time.Second,
		OverridePrivate: flags&4 != 0, OverrideNoStore: flags&8 != 0,
	}
	if flags&16 != 0 {
		rules.DefaultTTL = 30 * time.Second
	}
	if flags&32 != 0 {
		rules.StaleWhileRevalidate, rules.StaleIfError = 20*time.Second, 50*time.Second
	}
	if flags&64 != 0 {
		rules.TTLByStatus = map[int]time.Duration{404: 15 * time.Second, 500: 5 * time.Second}
	}
	if flags&128 != 0 {
		rules.NegativeTTL = 3 * time.Second
	}
	return rules
}

// Whatever Decide serves, RFC 9111 in its long form allows.
func FuzzDecideAgainstOracle(f *testing.F) {
	date := origo.Format(http.TimeFormat)
	f.Add("max-age=60", "", "", "", date, "", "", "", "", "", "", int16(200), uint8(0), int32(30), false)
	f.Add("no-store", "max-age=60", "", "", "", "5", "", "foo", "1", "1", "", int16(200), uint8(1), int32(59), false)
	f.Add("max-age=60, must-revalidate", "no-cache, max-age=9", "max-age=4", "", "", "", "", "Foo", "1", "2", "max-stale", int16(404), uint8(33), int32(61), true)
	f.Add("private=\"x\", s-maxage=9", "max-age=\"9\"", "&", "0", "", "1,2", date, "", "", "", "max-age=3, min-fresh=2", int16(203), uint8(37), int32(5), true)
	f.Add("private, no-store", "", "", "", "", "", "", "", "", "", "max-stale=20", int16(500), uint8(255), int32(44), false)
	f.Add("public, stale-while-revalidate=10\nmax-age=1", "", "", date, "Sun Mar  1 11:59:00 2026", "", "Sat, 28 Feb 2026 12:00:00 GMT", "*", "", "", "no-cache", int16(302), uint8(16), int32(8), true)
	f.Add("max-age=60, max-age=70, must-understand, no-store", "max-age=-1, private=x", "", "", "", "", "", "", "", "", "", int16(299), uint8(1), int32(65), false)
	f.Fuzz(func(t *testing.T, cc, cdn, own, expires, date, age, modified, vary, foo, later, wish string, status int16, flags uint8, after int32, authorized bool) {
		c := trial{rules: oracleRules(flags), first: get(), then: get(), resp: answer(`Etag: "a"`)}
		setLines(c.resp.Header, map[string]string{
			"Cache-Control": cc, "Cdn-Cache-Control": cdn, "Perigee-Cdn-Cache-Control": own, "Expires": expires,
			"Date": date, "Age": age, "Last-Modified": modified, "Vary": vary,
		})
		setLines(c.first.Header, map[string]string{"Foo": foo})
		setLines(c.then.Header, map[string]string{"Foo": later, "Cache-Control": wish})
		if authorized {
			c.first.Header["Authorization"] = []string{"x"}
		}
		c.resp.Status = int(status)
		c.now = origo.Add(time.Duration(after) * time.Second)
		c.judge(t)
	})
}

func setLines(h http.Header, fields map[string]string) {
	for name, text := range fields {
		if lines := split(text); lines != nil {
			h[name] = lines
		}
	}
}

// judge asks Decide and the oracle. served reports whether Decide served.
func (c *trial) judge(t *testing.T) (served bool) {
	t.Helper()
	c.resp.RequestTime = origo.Add(-time.Second)
	s, why := NewStored(&c.rules, NewRequest(c.first), c.resp)
	if why != Storable {
		return false
	}
	d := Decide(&c.rules, NewRequest(c.then), s, c.now)
	serve, inTrouble, judged := c.verdict()
	if !judged {
		return false
	}
	served = d.Action == Serve || d.Action == ServeStale
	if served && !serve || d.StaleIfError && !inTrouble {
		t.Errorf("%+v is not allowed\nresponse %d %q\nfirst %s %q\nthen %s %q\nrules %+v\nafter %s", d, c.resp.Status, c.resp.Header,
			c.first.Method, c.first.Header, c.then.Method, c.then.Header, c.rules, c.now.Sub(origo))
	}
	return served
}

// The same with fields made of what means something, so that most trials come to
// a decision.
func TestDecideAgainstOracle(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9111, 9213))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	directive := func() string {
		number := pick("0", "5", "20", "60", "99999999999", "x", "-1", "1.5", `"20"`, `"x"`, "")
		return pick("max-age="+number, "max-age="+number, "s-maxage="+number, "max-age", "no-store", "no-cache", "private", "public",
			"must-revalidate", "proxy-revalidate", "must-understand", "immutable", "foo="+number, `private="x-a"`, `no-cache="x-a"`, `private=""`,
			"stale-while-revalidate="+number, "stale-if-error="+number, "Max-Age="+number, "max-age ="+number, `foo="a, no-store"`, `foo="a`, "", "&")
	}
	list := func(most int) string {
		all := []string{pick("", "max-age=60", "max-age=60, stale-while-revalidate=20", "s-maxage=40, max-age=5")}
		for range r.IntN(most) {
			all = append(all, directive())
		}
		return strings.Join(all, pick(", ", ",", "\n", " , "))
	}
	at := func() string {
		offset := time.Duration(r.IntN(200)-100) * time.Second
		return pick("", "", origo.Add(offset).Format(http.TimeFormat), origo.Add(10*offset).Format(time.ANSIC), "0", "soon",
			origo.Add(offset).Format(http.TimeFormat)+"\n"+origo.Format(http.TimeFormat))
	}
	served, trials := 0, 30_000
	for range trials {
		c := trial{rules: oracleRules(uint8(r.IntN(256) & r.IntN(256))), first: get(), then: get(), resp: answer(pick(`Etag: "a"`, `Etag: a`))}
		setLines(c.resp.Header, map[string]string{
			"Cache-Control": list(3), "Expires": at(), "Date": at(), "Last-Modified": at(),
			"Age": pick("", "", "5", "30", "x", "7, 60", "60, 7"), "Vary": pick("", "", "Foo", "foo, bar", "*", "bar"),
		})
		if r.IntN(3) == 0 {
			setLines(c.resp.Header, map[string]string{"Cdn-Cache-Control": list(3), "Perigee-Cdn-Cache-Control": pick("", list(2))})
		}
		foo := func() string { return pick("", "", "", "1, 2", "1,2", "2") }
		setLines(c.first.Header, map[string]string{"Foo": foo(), "Authorization": pick("", "", "", "x"), "Cache-Control": pick("", "", "no-store")})
		setLines(c.then.Header, map[string]string{
			"Foo":           foo(),
			"Cache-Control": pick("", "", "", "no-cache", "max-age=10", "max-age=0", "max-stale", "max-stale=30", "min-fresh=10", "max-age=30, max-stale=10", "max-stale=x"),
			"Pragma":        pick("", "", "no-cache", "foo"),
		})
		c.then.Method = pick("GET", "GET", "HEAD", "POST")
		c.resp.Status, _ = strconv.Atoi(pick("200", "200", "200", "203", "302", "404", "410", "500", "299", "304"))
		c.now = origo.Add(time.Duration(r.IntN(150)-10) * time.Second)
		if c.judge(t) {
			served++
		}
		if t.Failed() {
			return
		}
	}
	if served < trials/20 {
		t.Errorf("only %d of %d trials were served: they judge nothing", served, trials)
	}
}
