package listener

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawFields turns the third column of a case into fields and content.
func rawFields(t *testing.T, text string) (fields []hpack.HeaderField, data string) {
	t.Helper()
	pseudo := []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "a"},
		{Name: ":path", Value: "/"},
	}
	for item := range strings.SplitSeq(text, "; ") {
		name, value, _ := strings.Cut(item, " ")
		var err error
		if name, err = strconv.Unquote(`"` + name + `"`); err != nil {
			t.Fatalf("%q: %v", item, err)
		}
		if value, err = strconv.Unquote(`"` + value + `"`); err != nil {
			t.Fatalf("%q: %v", item, err)
		}
		at := slices.IndexFunc(pseudo, func(f hpack.HeaderField) bool { return f.Name == name })
		switch {
		case name == "data":
			data = value
		case at >= 0 && value == "-":
			pseudo = slices.Delete(pseudo, at, at+1)
		case at >= 0:
			pseudo[at].Value = value
		default:
			fields = append(fields, hpack.HeaderField{Name: strings.TrimPrefix(name, "+"), Value: value})
		}
	}
	return append(pseudo, fields...), data
}

// rawH2 is a client that sends whatever it is told.
type rawH2 struct {
	nc      net.Conn
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
}

func newRawH2(t *testing.T, nc net.Conn) *rawH2 {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	h := &rawH2{nc: nc, framer: http2.NewFramer(nc, nc)}
	h.encoder = hpack.NewEncoder(&h.block)
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	if err := h.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return h
}

// send sends one request; errors show when reading.
func (h *rawH2) send(stream uint32, fields []hpack.HeaderField, data string) {
	h.block.Reset()
	for _, f := range fields {
		_ = h.encoder.WriteField(f)
	}
	_ = h.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: h.block.Bytes(), EndStream: data == "", EndHeaders: true,
	})
	if data != "" {
		_ = h.framer.WriteData(stream, true, []byte(data))
	}
}

// outcomes reads until both streams have ended or the connection has: a status,
// "reset" or "close" for each, and what the second was answered with.
func (h *rawH2) outcomes() (first, second, body string) {
	got := map[uint32]string{}
	ended := map[uint32]bool{}
	for !ended[1] || !ended[3] {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			break
		}
		id := frame.Header().StreamID
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			got[id] = f.PseudoValue("status")
			ended[id] = f.StreamEnded()
		case *http2.DataFrame:
			if id == 3 {
				body += string(f.Data())
			}
			ended[id] = f.StreamEnded()
		case *http2.RSTStreamFrame:
			if got[id] == "" {
				got[id] = "reset"
			}
			ended[id] = true
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = h.framer.WriteSettingsAck()
			}
		}
	}
	for _, id := range []uint32{1, 3} {
		if got[id] == "" {
			got[id] = "close"
		}
	}
	return got[1], got[3], body
}

func TestRawHTTP2(t *testing.T) {
	t.Parallel()
	cases := loadRaw(t, "h2", 60)
	cert := selfSigned(t, "localhost")
	rec := &recorder{}
	s, _ := start(t, Options{
		HTTPS: []string{"127.0.0.1:0"}, Certificates: only(cert), Answerer: rec, Limits: rawLimits,
	})
	_, secure := s.Addrs()
	config := trusting(cert)
	config.ServerName, config.NextProtos = "localhost", []string{"h2"}
	dial := func() net.Conn {
		nc, err := tls.Dial("tcp", secure[0].String(), config)
		if err != nil {
			t.Fatal(err)
		}
		return nc
	}
	innocent := []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "victim"},
		{Name: ":path", Value: "/victim"},
	}
	for _, c := range cases {
		fields, data := rawFields(t, c.bytes)
		h := newRawH2(t, dial())
		h.send(1, fields, data)
		h.send(3, innocent, "")
		first, second, body := h.outcomes()
		_ = h.nc.Close()
		whole, broken := rec.take()
		if !slices.Contains(c.outcomes, first) {
			t.Errorf("%s: %q was answered with %s, want one of %s", c.id, c.bytes, first, c.outcomes)
		}
		if second != "close" && (second != "200" || body != victimAsked) {
			t.Errorf("%s: the victim was answered with %s %q", c.id, second, body)
		}
		whole = slices.DeleteFunc(whole, func(s string) bool { return s == victimAsked })
		if diff := cmp.Diff(c.reaches, whole); diff != "" && len(c.reaches)+len(whole) > 0 {
			t.Errorf("%s: %q: what arrived (-want +got):\n%s", c.id, c.bytes, diff)
		}
		if broken > 0 && !c.broken {
			t.Errorf("%s: %q: a request arrived broken", c.id, c.bytes)
		}
		elsewhere := newRawH2(t, dial())
		elsewhere.send(1, innocent, "")
		elsewhere.send(3, innocent, "")
		if a, b, body := elsewhere.outcomes(); a != "200" || b != "200" || body != victimAsked {
			t.Errorf("%s: then victims elsewhere were answered with %s, %s %q", c.id, a, b, body)
		}
		_ = elsewhere.nc.Close()
		rec.take()
	}
}
