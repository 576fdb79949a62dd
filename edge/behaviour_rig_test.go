package edge

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// answerField numbers the answers of the scripted origin, so that a response says
// which of them it is made of.
const answerField = "Answer"

// asked is a request as the origin got it, and what it answered.
type asked struct {
	step        int
	header      http.Header
	method      string
	notModified bool
}

// scriptOrigin answers each request with the answer of the step that is under way. It
// writes its bytes itself, since a server of net/http would correct many of them.
type scriptOrigin struct {
	id string

	mu    sync.Mutex // guards what follows
	step  int        // from 1
	steps []*behaviourStep
	asked []asked
	// now is when the last answer was given: dates in requests and expectations
	// count from it.
	now time.Time
	// etag and modified are the validators of the last answer that was a whole.
	etag, modified string
	contents       map[int]string // by number of the answer
	statuses       map[int]int
	conns          map[net.Conn]bool
}

func newScriptOrigin(c *behaviour) *scriptOrigin {
	return &scriptOrigin{
		id: c.id, steps: c.steps, now: time.Now(),
		contents: make(map[int]string), statuses: make(map[int]int), conns: make(map[net.Conn]bool),
	}
}

// serve answers on every connection until the listener is closed.
func (o *scriptOrigin) serve(listener net.Listener) (stop func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns[conn] = true
			o.mu.Unlock()
			wg.Go(func() { o.converse(conn) })
		}
	})
	return func() {
		_ = listener.Close()
		o.mu.Lock()
		for conn := range o.conns {
			_ = conn.Close()
		}
		o.mu.Unlock()
		wg.Wait()
	}
}

func (o *scriptOrigin) converse(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, request.Body); err != nil {
			return
		}
		o.mu.Lock()
		delay := o.steps[o.step-1].answer.delay
		o.mu.Unlock()
		time.Sleep(delay)
		text, last := o.answer(request)
		if _, err := conn.Write(text); err != nil || last {
			return
		}
	}
}

// answer makes the bytes of an answer. last says that the connection ends after them.
func (o *scriptOrigin) answer(request *http.Request) (text []byte, last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	step := o.steps[o.step-1]
	a := step.answer
	got := asked{step: o.step, header: request.Header, method: request.Method}
	o.now = time.Now()
	if a.hangUp {
		o.asked = append(o.asked, got)
		return nil, true
	}
	got.notModified = step.validates() && o.current(request)
	o.asked = append(o.asked, got)

	var b bytes.Buffer
	for _, interim := range step.interim {
		fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n%s\r\n", interim.status, interim.reason, o.fields(interim.fields))
	}
	status, reason, content := a.status, a.reason, a.content
	if status == 0 {
		status, reason = http.StatusOK, "OK"
	}
	if !a.own {
		content = fmt.Sprintf("answer %d of %s", o.step, o.id)
	}
	if got.notModified {
		status, reason, content = http.StatusNotModified, "Not Modified", ""
	}
	bare := status == http.StatusNotModified || status == http.StatusNoContent
	if bare {
		content = ""
	}
	o.remember(got, status, content)
	fields := o.fields(a.fields)
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n%s: %d\r\n%s", status, reason, answerField, o.step, fields)
	if !strings.Contains(fields, "Date: ") {
		fmt.Fprintf(&b, "Date: %s\r\n", o.now.UTC().Format(http.TimeFormat))
	}
	if !strings.Contains(fields, "Content-Type: ") {
		b.WriteString("Content-Type: text/plain\r\n")
	}
	if !bare && !a.unframed && !strings.Contains(fields, "Content-Length: ") && !strings.Contains(fields, "Transfer-Encoding: chunked") {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(content))
	}
	b.WriteString("\r\n")
	if request.Method != http.MethodHead {
		if strings.Contains(fields, "Transfer-Encoding: chunked") {
			content = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(content), content)
		}
		b.WriteString(content)
	}
	return b.Bytes(), a.unframed
}

// remember keeps what a response made of this answer has to look like.
func (o *scriptOrigin) remember(got asked, status int, content string) {
	if got.notModified {
		whole := o.lastWhole()
		o.contents[o.step], o.statuses[o.step] = o.contents[whole], o.statuses[whole]
		return
	}
	o.contents[o.step], o.statuses[o.step] = content, status
	o.etag, o.modified = "", ""
	for _, line := range strings.Split(o.fields(o.steps[o.step-1].answer.fields), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "ETag":
			o.etag = value
		case "Last-Modified":
			o.modified = value
		}
	}
}

// lastWhole is the number of the last answer that was no 304.
func (o *scriptOrigin) lastWhole() (whole int) {
	for _, a := range o.asked {
		if _, known := o.contents[a.step]; known && !a.notModified {
			whole = a.step
		}
	}
	return whole
}

func (o *scriptOrigin) fields(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		text, err := dated(line, o.now)
		if err != nil {
			text = "Broken-Date: " + err.Error()
		}
		b.WriteString(text + "\r\n")
	}
	return b.String()
}

// current says whether the request names the validator that the origin gave last.
func (o *scriptOrigin) current(request *http.Request) bool {
	none, since := request.Header.Get("If-None-Match"), request.Header.Get("If-Modified-Since")
	return none != "" && none == o.etag || since != "" && since == o.modified
}

// validates says whether the step expects a 304 from the origin.
func (s *behaviourStep) validates() bool {
	for _, want := range s.want {
		if strings.HasPrefix(want, "validated ") {
			return true
		}
	}
	return false
}

// played is a response as the client got it.
type played struct {
	*http.Response
	content string
	interim []interimAnswer
}

type interimAnswer struct {
	status int
	header http.Header
}

// play sends the request of a step.
func (r *rig) play(step *behaviourStep, now time.Time) (*played, error) {
	p := new(played)
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, header textproto.MIMEHeader) error {
		p.interim = append(p.interim, interimAnswer{status, http.Header(header)})
		return nil
	}}
	ctx := httptrace.WithClientTrace(r.t.Context(), trace)
	var body io.Reader
	if step.content != "" {
		body = strings.NewReader(step.content)
	}
	request, err := http.NewRequestWithContext(ctx, step.method, "http://www.test"+step.path, body)
	if err != nil {
		return nil, err
	}
	for _, line := range step.fields {
		text, err := dated(line, now)
		if err != nil {
			return nil, err
		}
		name, value, _ := strings.Cut(text, ":")
		request.Header.Add(name, strings.TrimPrefix(value, " "))
	}
	if p.Response, err = r.client.Do(request); err != nil {
		return nil, err
	}
	defer p.Body.Close()
	content, err := io.ReadAll(p.Body)
	p.content = string(content)
	return p, err
}

// run plays a case and lists what went otherwise than expected.
func (r *rig) run(c *behaviour) (problems []string) {
	o := newScriptOrigin(c)
	stop := o.serve(r.net.Listen("script.test:80"))
	r.t.Cleanup(stop)
	r.reconfigure(func(s *Site) { s.Origin = r.pool(originAt("http://script.test")) })
	for i, step := range c.steps {
		time.Sleep(step.wait)
		o.mu.Lock()
		o.step = i + 1
		before := len(o.asked)
		now := o.now
		o.mu.Unlock()
		p, err := r.play(step, now)
		synctest.Wait()
		if err != nil {
			return append(problems, fmt.Sprintf("request %d: %v", i+1, err))
		}
		v := &verdict{o: o, step: i + 1, played: p, asked: o.asked[before:], method: step.method}
		for _, want := range v.judge(step.want) {
			problems = append(problems, fmt.Sprintf("request %d: %s", i+1, want))
		}
	}
	return problems
}

// verdict compares one response with what is expected of it.
type verdict struct {
	*played
	o      *scriptOrigin
	step   int
	method string
	asked  []asked
}

// from is the number of the answer that the response is made of, 0 if of none.
func (v *verdict) from() int {
	n, err := strconv.Atoi(v.Header.Get(answerField))
	if err != nil {
		return 0
	}
	return n
}

// judge checks the expectations, and what holds wherever they say nothing: status and
// content are those of the answer that the response is made of.
func (v *verdict) judge(wants []string) (problems []string) {
	status, content := v.o.statuses[v.from()], v.o.contents[v.from()]
	anyContent := v.method == http.MethodHead
	for _, want := range wants {
		if text, ok := strings.CutPrefix(want, "status "); ok {
			status, _ = strconv.Atoi(text)
		}
		if text, ok := strings.CutPrefix(want, "content "); ok {
			content = text
			continue
		}
		if want == "any content" {
			anyContent = true
			continue
		}
		if err := v.check(want); err != nil {
			problems = append(problems, fmt.Sprintf("%q: %v", want, err))
		}
	}
	if v.StatusCode != status {
		problems = append(problems, fmt.Sprintf("status %d, want %d", v.StatusCode, status))
	}
	bare := status == http.StatusNotModified || status == http.StatusNoContent
	if !anyContent && !bare && v.content != content {
		problems = append(problems, fmt.Sprintf("content %q, want %q", v.content, content))
	}
	return problems
}

// check is one expectation.
func (v *verdict) check(want string) error {
	word, rest, _ := strings.Cut(want, " ")
	switch {
	case want == "cache", want == "cache, refreshed":
		return v.cached(want != "cache")
	case want == "origin":
		return v.fetched()
	case word == "status": // compared by judge
		return nil
	case word == "validated":
		return v.validated(rest)
	case word == "sent":
		return v.sent(rest)
	case want == "no interim":
		if len(v.interim) > 0 {
			return fmt.Errorf("got %v", v.interim)
		}
		return nil
	case word == "interim":
		return v.hasInterim(rest)
	case word == "has", word == "no":
		return lacks(v.Header, rest, word == "no")
	case strings.Contains(want, " > "):
		return v.greater(want)
	case isFieldLine(want):
		return v.hasField(v.Header, want)
	}
	return errors.New("unknown expectation")
}

// cached: the response is not of this step's answer.
func (v *verdict) cached(refreshed bool) error {
	if v.from() == v.step || v.from() == 0 && v.StatusCode != http.StatusNotModified {
		return fmt.Errorf("answer %d was served, %s", v.from(), v.Header.Get("Cache-Status"))
	}
	if asked := len(v.asked) > 0; asked != refreshed {
		return fmt.Errorf("origin asked: %t, want %t; %s", asked, refreshed, v.Header.Get("Cache-Status"))
	}
	return nil
}

// fetched: the response is of this step's answer.
func (v *verdict) fetched() error {
	if v.from() != v.step {
		return fmt.Errorf("answer %d was served, %s", v.from(), v.Header.Get("Cache-Status"))
	}
	return nil
}

// validated: the origin was asked under the condition of the field, and said 304.
func (v *verdict) validated(field string) error {
	for _, a := range v.asked {
		if a.notModified && a.header.Get(field) != "" {
			return nil
		}
	}
	for _, a := range v.asked {
		return fmt.Errorf("the origin was asked with %s %q, %s", field, a.header.Get(field), v.Header.Get("Cache-Status"))
	}
	return fmt.Errorf("the origin was not asked, %s", v.Header.Get("Cache-Status"))
}

// sent: what the origin got.
func (v *verdict) sent(want string) error {
	if len(v.asked) == 0 {
		return fmt.Errorf("the origin was not asked, %s", v.Header.Get("Cache-Status"))
	}
	got := v.asked[0]
	if method, ok := strings.CutPrefix(want, "method "); ok {
		if got.method != method {
			return fmt.Errorf("method %s", got.method)
		}
		return nil
	}
	if name, ok := strings.CutPrefix(want, "no "); ok {
		return lacks(got.header, name, true)
	}
	if !isFieldLine(want) {
		return lacks(got.header, want, false)
	}
	return v.hasField(got.header, want)
}

// lacks checks that the field is there, or not there: by name, or by "Name: value".
func lacks(header http.Header, field string, absent bool) error {
	name, value, _ := strings.Cut(field, ": ")
	lines := strings.Join(header.Values(name), ", ")
	found := header.Values(name) != nil && strings.Contains(lines, value)
	if found == absent {
		return fmt.Errorf("%s: %q", name, lines)
	}
	return nil
}

func (v *verdict) hasField(header http.Header, want string) error {
	text, err := dated(want, v.o.now)
	if err != nil {
		return err
	}
	name, value, _ := strings.Cut(text, ": ")
	if got := strings.Join(header.Values(name), ", "); got != value {
		return fmt.Errorf("%s: %q", name, got)
	}
	return nil
}

func (v *verdict) greater(want string) error {
	name, text, _ := strings.Cut(want, " > ")
	least, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	got, err := strconv.Atoi(v.Header.Get(name))
	if err != nil || got <= least {
		return fmt.Errorf("%s: %q", name, v.Header.Get(name))
	}
	return nil
}

// hasInterim: one of the interim responses has the status and, where given, the field.
func (v *verdict) hasInterim(want string) error {
	code, field, _ := strings.Cut(want, " ")
	for _, interim := range v.interim {
		if strconv.Itoa(interim.status) != code {
			continue
		}
		if field == "" {
			return nil
		}
		return v.hasField(interim.header, field)
	}
	return fmt.Errorf("got %v", v.interim)
}
