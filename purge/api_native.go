package purge

import (
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// nativeProblem is the JSON of an answer that is an error.
type nativeProblem struct {
	Error    string   `json:"error"`
	Problems []string `json:"problems,omitempty"`
}

func refuseNative(c *call, refusal *Refusal) {
	c.reply(refusal.Status, nativeProblem{Error: refusal.Reason, Problems: refusal.Problems})
}

// nativePurge is POST /v1/sites/{site}/purge.
func (s *Service) nativePurge(c *call) {
	if c.r.URL.RawQuery != "" {
		// A "?dry_run=true" that nobody reads would purge.
		c.refuse(refuse(http.StatusBadRequest, "this takes no query: what is to be purged stands in the body; nothing was purged"))
		return
	}
	body, refusal := readBody(c.w, c.r)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	o := c.order(c.args[0])
	if refusal = o.readNative(body); refusal != nil {
		c.refuse(refusal)
		return
	}
	receipt, refusal := s.purge(c.r.Context(), c.caller, o)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	c.reply(receipt.status(), receipt)
}

// readNative takes the order from its JSON.
func (o *Order) readNative(body value) *Refusal {
	r := newReader(body)
	o.URLs, o.IgnoreQuery = r.strings("urls"), r.truth("ignore_query")
	o.Prefixes, o.Tags, o.Hosts = r.strings("prefixes"), r.strings("tags"), r.strings("hosts")
	o.Everything, o.Soft, o.DryRun = r.truth("everything"), r.truth("soft"), r.truth("dry_run")
	if text := r.text("wait", `a duration such as "5s"`); text != "" {
		wait, err := time.ParseDuration(text)
		if err != nil {
			r.problem("wait: %s is not a duration such as \"5s\"", clip(text))
		}
		o.Wait = wait
	}
	if problems := r.done(); len(problems) > 0 {
		return faulty(problems)
	}
	return nil
}

// nativePage is the JSON of a page of the history.
type nativePage struct {
	Purges []Record `json:"purges"`
	Next   string   `json:"next,omitempty"` // value of before for the next page
}

// nativeHistory is GET /v1/purges.
func (s *Service) nativeHistory(c *call) {
	site, before, limit, refusal := readPage(c.r.URL.RawQuery)
	if refusal != nil {
		c.refuse(refusal)
		return
	}
	sees := c.caller.Sees
	if site != "" {
		only, refusal := c.state.permitted(c.caller, site)
		if refusal != nil {
			c.refuse(refusal)
			return
		}
		sees = func(name string) bool { return name == only.name }
	}
	page, known := s.history.page(sees, before, limit)
	if !known {
		c.refuse(refuse(http.StatusBadRequest, "before is no purge that is remembered"))
		return
	}
	answer := nativePage{Purges: page}
	if len(page) == limit {
		answer.Next = page[limit-1].ID
	}
	c.reply(http.StatusOK, answer)
}

// readPage reads the query of the history.
func readPage(query string) (site string, before ID, limit int, refusal *Refusal) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", ID{}, 0, refuse(http.StatusBadRequest, "the query is malformed")
	}
	limit = defaultPage
	for name, given := range values {
		if len(given) > 1 {
			return "", ID{}, 0, refuse(http.StatusBadRequest, "%s stands twice", clip(name))
		}
		var err error
		switch name {
		case "site":
			site = given[0]
		case "before":
			before, err = ParseID(given[0])
		case "limit":
			limit, err = strconv.Atoi(given[0])
		default:
			return "", ID{}, 0, refuse(http.StatusBadRequest, "there is no parameter %s: site, limit and before are", clip(name))
		}
		if err != nil || limit < 1 || limit > maxPage {
			return "", ID{}, 0, refuse(http.StatusBadRequest, "%s=%s: limit is from 1 to %d, before the id of a purge", name, clip(given[0]), maxPage)
		}
	}
	return site, before, limit, nil
}

// nativeStatus is GET /v1/purges/{id}. Another site's purge is not told apart from
// none.
func (s *Service) nativeStatus(c *call) {
	id, err := ParseID(c.args[0])
	if err != nil {
		c.refuse(refuse(http.StatusNotFound, "there is no purge %s", clip(c.args[0])))
		return
	}
	record, ok := s.history.find(id)
	if !ok || !c.caller.Sees(record.Site) {
		c.refuse(refuse(http.StatusNotFound, "there is no purge %s, or it is no longer remembered", clip(c.args[0])))
		return
	}
	c.reply(http.StatusOK, record)
}
