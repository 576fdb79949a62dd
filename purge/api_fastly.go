package purge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// fastlyProblem is how Fastly's API says that something went wrong; error and problems
// are as everywhere else.
type fastlyProblem struct {
	Msg      string   `json:"msg"`
	Detail   string   `json:"detail,omitempty"`
	Error    string   `json:"error"`
	Problems []string `json:"problems,omitempty"`
}

func refuseFastly(c *call, refusal *Refusal) {
	answer := fastlyProblem{Msg: refusal.Reason, Detail: strings.Join(refusal.Problems, "\n"), Error: refusal.Reason, Problems: refusal.Problems}
	if refusal.Status == http.StatusUnauthorized {
		answer.Msg, answer.Detail = "Provided credentials are missing or invalid", refusal.Reason
	}
	c.reply(refusal.Status, answer)
}

// fastlyDone is Fastly's answer to one purge.
type fastlyDone struct {
	Status string `json:"status"`
	ID     string `json:"id"`
}

// soft tells whether a request asks for a soft purge. To Fastly the value does not
// count; one that says no is believed here.
func soft(h http.Header) bool {
	for _, name := range []string{"Fastly-Soft-Purge", "Soft-Purge"} {
		for _, line := range h.Values(name) {
			switch strings.ToLower(strings.Trim(line, " \t")) {
			case "", "0", "false", "no":
			default:
				return true
			}
		}
	}
	return false
}

// fastlyPurge carries an order out and answers like Fastly.
func (s *Service) fastlyPurge(c *call, o Order, answer func(id string) any) {
	o.Soft = soft(c.r.Header)
	receipt, refusal := s.purge(c.r.Context(), c.caller, o)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	c.reply(http.StatusOK, answer(receipt.ID))
}

func fastlyOne(id string) any { return fastlyDone{Status: "ok", ID: id} }

// fastlyKey is POST /service/{id}/purge/{key}. A key may hold slashes.
func (s *Service) fastlyKey(c *call) {
	key, err := url.PathUnescape(c.args[1])
	if err != nil {
		c.refuse(refuse(http.StatusBadRequest, "the key is malformed"))
		return
	}
	o := c.order(c.args[0])
	o.Tags = []string{key}
	s.fastlyPurge(c, o, fastlyOne)
}

// fastlyKeys is POST /service/{id}/purge: the keys stand in the Surrogate-Key field or
// in the body.
func (s *Service) fastlyKeys(c *call) {
	o := c.order(c.args[0])
	for _, line := range c.r.Header.Values("Surrogate-Key") {
		o.Tags = append(o.Tags, strings.Fields(line)...)
	}
	if len(o.Tags) == 0 {
		body, refusal := readBody(c.w, c.r)
		if refusal != nil {
			c.refuse(refusal)
			return
		}
		r := newReader(body)
		o.Tags = r.strings("surrogate_keys")
		if problems := r.done(); len(problems) > 0 {
			c.refuse(faulty(problems))
			return
		}
	}
	s.fastlyPurge(c, o, func(id string) any { return keyMap{keys: o.Tags, id: id} })
}

// keyMap is Fastly's answer to a purge of several keys: {"key":"id", …}.
type keyMap struct {
	keys []string
	id   string
}

// MarshalJSON keeps the order of the keys.
func (m keyMap) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	seen := make(map[string]bool)
	for _, key := range m.keys {
		name, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		if seen[key] {
			continue
		}
		if len(seen) > 0 {
			out.WriteByte(',')
		}
		seen[key] = true
		out.Write(name)
		out.WriteString(`:"` + m.id + `"`)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// fastlyAll is POST /service/{id}/purge_all.
func (s *Service) fastlyAll(c *call) {
	o := c.order(c.args[0])
	o.Everything = true
	s.fastlyPurge(c, o, fastlyOne)
}

// fastlyURL is POST /purge/{url}: host and path, with or without a scheme, as it is or
// escaped as one segment. The host finds the site.
func (s *Service) fastlyURL(c *call) {
	text := c.args[0]
	if !strings.Contains(text, "/") {
		whole, err := url.PathUnescape(text)
		if err != nil {
			c.refuse(refuse(http.StatusBadRequest, "the URL is malformed"))
			return
		}
		text = whole
	} else {
		// A request target has no fragment: what a path sends as it is belongs to it.
		text = strings.ReplaceAll(text, "#", "%23")
	}
	if c.r.URL.RawQuery != "" {
		text += "?" + c.r.URL.RawQuery
	}
	if !strings.Contains(text[:min(len(text), len("https://"))], "://") {
		text = "https://" + text
	}
	t, ok := splitTarget(text)
	if !ok {
		c.refuse(refuse(http.StatusBadRequest, "%s is not a URL", clip(text)))
		return
	}
	o := c.order("")
	o.URLs = []string{text}
	if site := c.state.siteOf(t.host); site != nil {
		o.Site = site.name
	}
	s.fastlyPurge(c, o, fastlyOne)
}
