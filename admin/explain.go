package admin

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"perigee/edge"
)

// Bounds of a question to GET /v1/explain.
const (
	maxQuestionURL    = 8 << 10
	maxQuestionFields = 64
	maxQuestionField  = 8 << 10
	maxQuestionMethod = 32
)

// explain answers GET /v1/explain?url=…&method=GET&header=Name:+value&client=ADDR;
// header may stand there more than once, and only url must.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	q, err := question(r.URL.RawQuery)
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, problem{Error: err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, s.options.Explain(q))
}

// question reads the parameters.
func question(query string) (q edge.Question, err error) {
	params, err := url.ParseQuery(query)
	if err != nil {
		return q, fmt.Errorf("the query is malformed: %w", err)
	}
	for name, values := range params {
		switch {
		case name != "url" && name != "method" && name != "header" && name != "client":
			return q, fmt.Errorf("there is no parameter %.40q: url, method, header, client", name)
		case name != "header" && len(values) > 1:
			return q, fmt.Errorf("%s stands there twice", name)
		}
	}
	q.URL, q.Method = params.Get("url"), params.Get("method")
	switch {
	case q.URL == "":
		return q, fmt.Errorf("url is missing: /v1/explain?url=https://www.example.com/")
	case len(q.URL) > maxQuestionURL:
		return q, fmt.Errorf("url is longer than %d bytes", maxQuestionURL)
	case len(q.Method) > maxQuestionMethod:
		return q, fmt.Errorf("method is longer than %d bytes", maxQuestionMethod)
	}
	if client := params.Get("client"); client != "" {
		if q.Client, err = netip.ParseAddr(client); err != nil {
			return q, fmt.Errorf("client %.60q is not an IP address", client)
		}
		q.Client = q.Client.Unmap().WithZone("")
	}
	q.Header, err = questionFields(params["header"])
	return q, err
}

// questionFields reads "Name: value" lines.
func questionFields(lines []string) (http.Header, error) {
	if len(lines) > maxQuestionFields {
		return nil, fmt.Errorf("more than %d header parameters", maxQuestionFields)
	}
	h := make(http.Header)
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		switch {
		case len(line) > maxQuestionField:
			return nil, fmt.Errorf("a header parameter is longer than %d bytes", maxQuestionField)
		case !found || name == "":
			return nil, fmt.Errorf("header %.60q is not of the form Name: value", line)
		}
		h.Add(name, strings.Trim(value, " \t"))
	}
	return h, nil
}
