package testorigin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxEcho bounds the request body that /echo sends back.
const maxEcho = 1 << 20

// ServeHTTP answers as the script, or else the query, says.
func (o *Origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_") {
		o.steer(w, r)
		return
	}
	a, scripted := o.enter(r)
	defer o.leave()
	if !o.held(r) {
		panic(http.ErrAbortHandler)
	}
	if scripted {
		o.answer(w, r, &a)
		return
	}
	o.byQuery(w, r)
}

// byQuery answers a path that has no script.
func (o *Origin) byQuery(w http.ResponseWriter, r *http.Request) {
	a, known, err := ParseAnswer(r.URL.Query())
	if err != nil {
		http.Error(w, "testorigin: "+err.Error(), http.StatusBadRequest)
		return
	}
	switch first, rest, _ := strings.Cut(r.URL.Path[1:], "/"); {
	case first == "size":
		a.Size, err = strconv.ParseInt(rest, 10, 64)
		if err != nil || a.Size < 0 {
			http.Error(w, "testorigin: size "+rest, http.StatusBadRequest)
			return
		}
	case first == "echo":
		a.Text = echo(received(r)) + "\n" + upTo(r.Body, maxEcho)
	case first == "sum":
		sum, size, err := SumOf(r.Body)
		a.Text = fmt.Sprintln(sum, size, err)
	case first == "upgrade":
		a.Handler = upgrade
	case first == "text" && a.Text == "":
		a.Text = r.URL.Path
	case !known:
		a.Status, a.Text = http.StatusNotFound, "no script for "+r.URL.Path+"\n"
	}
	o.answer(w, r, &a)
}

func upTo(r io.Reader, limit int64) string {
	text, err := io.ReadAll(io.LimitReader(r, limit))
	if err != nil {
		return fmt.Sprintf("%s\ntestorigin: body: %v\n", text, err)
	}
	return string(text)
}

// echo shows a request.
func echo(r Received) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\nHost: %s\n", r.Method, r.URI, r.Proto, r.Host)
	var lines []string
	for name, values := range r.Header {
		for _, value := range values {
			lines = append(lines, name+": "+value+"\n")
		}
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	return b.String()
}

// answer sends a.
func (o *Origin) answer(w http.ResponseWriter, r *http.Request, a *Answer) {
	if a.Handler != nil {
		a.Handler(w, r)
		return
	}
	a.sendInterim(w)
	if !pause(r.Context(), a.Delay) || a.Abort && a.AbortAt < 0 {
		hangUp(w, a.Reset)
	}
	for name, values := range a.header() {
		w.Header()[name] = values
	}
	if a.NoDate {
		w.Header()["Date"] = nil
	}
	if a.HangUp {
		w.Header().Set("Connection", "close")
	}
	size, open := a.body(r.URL.Path)
	p := a.partOf(r, w.Header(), size)
	if p.status == http.StatusNotModified {
		o.countNotModified(r.URL.Path)
	}
	if a.Digest != "" && p.status != http.StatusNotModified {
		w.Header().Set("Repr-Digest", reprDigest(open(0, size), a.Digest == digestGood))
	}
	if w.Header().Get("Content-Type") == "" && p.hasBody() {
		w.Header().Set("Content-Type", a.contentType())
	}
	if !a.Chunked && p.hasBody() {
		length := p.to - p.from
		if a.Length > 0 {
			length = a.Length
		}
		w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	}
	w.WriteHeader(p.status)
	if a.Chunked { // else net/http counts a short body itself
		http.NewResponseController(w).Flush()
	}
	if r.Method == http.MethodHead || !p.hasBody() {
		return
	}
	a.send(w, r, open(p.from, p.to))
	if a.Abort || a.Length > 0 { // a length that is not true ends with the connection
		http.NewResponseController(w).Flush()
		hangUp(w, a.Reset)
	}
}

// sendInterim sends the interim responses. net/http sends with each what w.Header
// holds, which is nothing of the final response's yet.
func (a *Answer) sendInterim(w http.ResponseWriter) {
	statuses := a.Interim
	if a.Early {
		statuses = append(slices.Clone(statuses), http.StatusEarlyHints)
	}
	for _, status := range statuses {
		if status == http.StatusEarlyHints {
			w.Header()["Link"] = []string{DefaultLink}
			if len(a.Links) > 0 {
				w.Header()["Link"] = a.Links
			}
		}
		w.WriteHeader(status)
		w.Header().Del("Link")
	}
}

func (a *Answer) contentType() string {
	if a.Text != "" {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// body gives the size of the body and a way to read a part of it.
func (a *Answer) body(path string) (size int64, open func(from, to int64) io.Reader) {
	if a.Text != "" {
		return int64(len(a.Text)), func(from, to int64) io.Reader { return strings.NewReader(a.Text[from:to]) }
	}
	seed := a.Seed
	if seed == 0 {
		seed = Seed(path, a.header().Get("ETag"))
	}
	return a.Size, func(from, to int64) io.Reader { return Reader(seed, from, to) }
}

// send writes the body at the pace of the script.
func (a *Answer) send(w http.ResponseWriter, r *http.Request, body io.Reader) {
	if a.Abort {
		body = io.LimitReader(body, a.AbortAt)
	}
	chunk := a.Chunk
	if chunk <= 0 {
		chunk = 32 << 10
		if a.Rate > 0 { // ten chunks a second
			chunk = int(min(int64(chunk), max(a.Rate/10, 1)))
		}
	}
	paced := a.Gap > 0 || a.Rate > 0 || a.Chunk > 0
	control := http.NewResponseController(w)
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(body, buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			if paced {
				control.Flush()
			}
		}
		if err != nil {
			return
		}
		wait := a.Gap
		if a.Rate > 0 {
			wait += time.Duration(float64(n) / float64(a.Rate) * float64(time.Second))
		}
		if !pause(r.Context(), wait) {
			return
		}
	}
}

// pause waits; false means that the client left first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// hangUp ends the connection (HTTP/1.1) or the stream (HTTP/2) without an end to the
// response. It does not return.
func hangUp(w http.ResponseWriter, reset bool) {
	if reset {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			if c, ok := conn.(interface{ SetLinger(int) error }); ok {
				c.SetLinger(0)
			}
			conn.Close()
		}
	}
	panic(http.ErrAbortHandler)
}

// upgrade switches to the protocol asked for and echoes.
func upgrade(w http.ResponseWriter, r *http.Request) {
	protocol := r.Header.Get("Upgrade")
	if protocol == "" {
		w.Header().Set("Upgrade", "echo")
		http.Error(w, "testorigin: no Upgrade field", http.StatusUpgradeRequired)
		return
	}
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "testorigin: "+err.Error(), http.StatusHTTPVersionNotSupported)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", protocol)
	if key := r.Header.Get("Sec-WebSocket-Key"); key != "" {
		fmt.Fprintf(conn, "Sec-WebSocket-Accept: %s\r\n", acceptKey(key))
	}
	io.WriteString(conn, "\r\n")
	io.Copy(conn, both.Reader)
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}

var _ http.Handler = (*Origin)(nil)
