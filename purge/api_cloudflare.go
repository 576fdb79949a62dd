package purge

import (
	"net/http"
)

// Codes of errors, as Cloudflare's API has them where it has the like.
const (
	codeUnavailable = 1000
	codeMethod      = 1001
	codeNothing     = 1012 // the request names nothing, or what it names is wrong
	codeShape       = 1014 // a field is of the wrong kind
	codeRate        = 1134
	codeZone        = 7003
	codeForbidden   = 9109
	codeToken       = 10000
)

type cloudflareError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// cloudflareAnswer is the envelope of all answers of Cloudflare's API.
type cloudflareAnswer struct {
	Success  bool              `json:"success"`
	Errors   []cloudflareError `json:"errors"`
	Messages []string          `json:"messages"`
	Result   *cloudflareResult `json:"result"`
}

type cloudflareResult struct {
	ID string `json:"id"`
}

func refuseCloudflare(c *call, refusal *Refusal) {
	code := codeNothing
	switch refusal.Status {
	case http.StatusUnauthorized:
		code = codeToken
	case http.StatusForbidden:
		code = codeForbidden
	case http.StatusNotFound:
		code = codeZone
	case http.StatusMethodNotAllowed:
		code = codeMethod
	case http.StatusTooManyRequests:
		code = codeRate
	case http.StatusBadRequest, http.StatusConflict:
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		code = codeShape
	default:
		code = codeUnavailable
	}
	answer := cloudflareAnswer{Errors: []cloudflareError{{code, refusal.Reason}}, Messages: []string{}}
	for _, problem := range refusal.Problems {
		answer.Errors = append(answer.Errors, cloudflareError{codeShape, problem})
	}
	c.reply(refusal.Status, answer)
}

// cloudflarePurge is POST /zones/{id}/purge_cache.
func (s *Service) cloudflarePurge(c *call) {
	body, refusal := readBody(c.w, c.r)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	o := c.order(c.args[0])
	if refusal = o.readCloudflare(body); refusal != nil {
		c.refuse(refusal)
		return
	}
	receipt, refusal := s.purge(c.r.Context(), c.caller, o)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	c.reply(http.StatusOK, cloudflareAnswer{
		Success: true, Errors: []cloudflareError{}, Messages: []string{}, Result: &cloudflareResult{ID: receipt.ID},
	})
}

// readCloudflare takes the order from the JSON of Cloudflare's API. A file is a URL,
// or an object of a URL and the fields of the variant that is meant: here all variants
// of a URL are purged.
func (o *Order) readCloudflare(body value) *Refusal {
	r := newReader(body)
	files, _ := r.take("files", "list", "a list")
	for _, file := range files.list {
		switch file.kind {
		case "string":
			o.URLs = append(o.URLs, file.text)
		case "object":
			o.URLs = append(o.URLs, r.file(file))
		default:
			r.problem("%s: must be a URL, or an object with url and headers, not a %s", file.at, file.kind)
		}
	}
	o.Tags, o.Hosts, o.Prefixes = r.strings("tags"), r.strings("hosts"), r.strings("prefixes")
	o.Everything = r.truth("purge_everything")
	if problems := r.done(); len(problems) > 0 {
		return faulty(problems)
	}
	if o.items() == 0 {
		return refuse(http.StatusBadRequest, `the request must contain one of "purge_everything", "files", "tags", "hosts" or "prefixes"; nothing was purged`)
	}
	return nil
}

// file reads a file that is an object.
func (r *reader) file(object value) string {
	inner := newReader(object)
	url, ok := inner.take("url", "string", "a URL")
	if !ok {
		r.problem("%s: has no url", object.at)
	}
	if fields, ok := inner.take("headers", "object", "an object of strings"); ok {
		for _, name := range fields.names {
			if field := fields.fields[name]; field.kind != "string" {
				inner.problem("%s: must be a string, not a %s", field.at, field.kind)
			}
		}
	}
	for _, problem := range inner.done() {
		r.problem("%s", problem)
	}
	return url.text
}
