package main

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// victimStream is where the victim asks on the attacker's own connection.
const victimStream = 3

// h2Talk is one connection on which whatever is given is sent.
type h2Talk struct {
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	gone    bool // the connection has been given up by the server
}

func newH2Talk(t *testing.T, nc net.Conn) *h2Talk {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(patience))
	h := &h2Talk{framer: http2.NewFramer(nc, nc)}
	h.encoder = hpack.NewEncoder(&h.block)
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := h.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends one request and reads until its stream or the connection has ended. What
// goes wrong shows as a status of "reset" or "close".
func (h *h2Talk) ask(stream uint32, fields []hpack.HeaderField, data string) poisonReply {
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
	reply := poisonReply{status: "close"}
	for {
		frame, err := h.framer.ReadFrame()
		if err != nil {
			return reply
		}
		ended := false
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = h.framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == stream {
				reply.status, ended = f.PseudoValue("status"), f.StreamEnded()
				for _, field := range f.RegularFields() {
					reply.text += field.Name + ": " + field.Value + "\n"
					reply.hit = reply.hit || field.Name == "x-cache" && field.Value == "HIT"
				}
			}
		case *http2.DataFrame:
			if f.StreamID == stream {
				reply.text += string(f.Data())
				ended = f.StreamEnded()
			}
		case *http2.GoAwayFrame:
			// The server closes the connection, but in its time.
			switch h.gone = f.LastStreamID < victimStream; {
			case f.ErrCode != http2.ErrCodeNo:
				return poisonReply{status: "reset"}
			case f.LastStreamID < stream:
				return reply
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				if reply.status == "close" {
					reply.status = "reset"
				}
				return reply
			}
		}
		if ended {
			return reply
		}
	}
}

// h2Fields are the fields of a request, as the lines of a case change a plain one:
// "name value" sets a pseudo-field or adds a field, ":name -" leaves one out, a "+"
// before the name adds a pseudo-field once more, and "data" is the content.
func (c *poisonCase) h2Fields(lines []string) (fields []hpack.HeaderField, data string) {
	fields = []hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: c.host()},
		{Name: ":path", Value: c.victim},
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		at := slices.IndexFunc(fields, func(f hpack.HeaderField) bool { return f.Name == name && name[0] == ':' })
		switch {
		case name == "data":
			data = value
		case at >= 0 && value == "-":
			fields = slices.Delete(fields, at, at+1)
		case at >= 0:
			fields[at].Value = value
		default:
			fields = append(fields, hpack.HeaderField{Name: strings.TrimPrefix(name, "+"), Value: value})
		}
	}
	return fields, data
}

// overHTTP2 makes the attack, then asks as a victim on its connection, if that is
// still there, and on two others.
func (c *poisonCase) overHTTP2(t *testing.T, dial func() net.Conn) (attack, victims []poisonReply) {
	t.Helper()
	var innocent []string
	for _, field := range c.victimFields {
		name, value, _ := strings.Cut(field, ": ")
		innocent = append(innocent, strings.ToLower(name)+" "+value)
	}
	plain, _ := c.h2Fields(innocent)
	nc := dial()
	defer nc.Close()
	h := newH2Talk(t, nc)
	fields, data := c.h2Fields(c.h2)
	attack = append(attack, h.ask(1, fields, data))
	if !h.gone {
		if reply := h.ask(victimStream, plain, ""); reply.status != "close" {
			victims = append(victims, reply)
		}
	}
	for range 2 {
		other := dial()
		victims = append(victims, newH2Talk(t, other).ask(1, plain, ""))
		_ = other.Close()
	}
	return attack, victims
}
