package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perigee/edge"
)

// explainFlags are what `perigee explain` is told.
type explainFlags struct {
	operator
	method, client string
	fields         []string
	asJSON         bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Tell what a running node would do with a request now, and why",
		Long: `explain asks a running node what would become of a request at this moment: which site
and rules it comes to, what its key is made of, what is stored under it and for how
long it is good, and what would be answered or asked of the origin. It changes
nothing: the origin is not asked, and nothing is counted as used.

The URL's scheme says whether the request comes over TLS; http:// is assumed where there
is none. Reasons are the words of the access log and of Cache-Status. Values of cookies
and credentials are shown by their length and a digest.`,
		Example: `  perigee explain https://www.example.com/
  perigee explain www.example.com/a -H 'Accept-Encoding: br' -H 'Cookie: plan=pro'
  perigee explain http://127.0.0.1:8080/a -H 'Host: www.example.com' --client 203.0.113.9 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("explain which URL? `perigee explain https://www.example.com/`")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cmd.Flags().StringArrayVarP(&f.fields, "header", "H", nil, "`field` of the request, 'Name: value'; may be given more than once")
	cmd.Flags().StringVarP(&f.method, "method", "X", http.MethodGet, "`method` of the request")
	cmd.Flags().StringVar(&f.client, "client", "", "`IP` address that the request comes from")
	f.flags(cmd)
	jsonFlag(cmd, &f.asJSON)
	return cmd
}

func (f *explainFlags) run(cmd *cobra.Command, target string) error {
	if !strings.Contains(target, "://") {
		target = "http://" + target
		fmt.Fprintf(cmd.ErrOrStderr(), "perigee: no scheme given, so this is about %s\n", target)
	}
	params, err := f.params(target)
	if err != nil {
		return err
	}
	status, body, err := f.ask(cmd.Context(), http.MethodGet, "/v1/explain?"+params.Encode(), time.Minute)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return f.refused(status, body)
	}
	if f.asJSON {
		_, err := cmd.OutOrStdout().Write(body)
		return err
	}
	var e edge.Explanation
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("the node's answer is not one of this version: %w", err)
	}
	_, err = cmd.OutOrStdout().Write(explained(&e))
	return err
}

// params are the parameters of GET /v1/explain. What could be no request is an error
// of whoever typed it.
func (f *explainFlags) params(target string) (url.Values, error) {
	q := edge.Question{Method: f.method, URL: target, Header: make(http.Header)}
	params := url.Values{"url": {target}, "method": {f.method}}
	for _, line := range f.fields {
		name, value, found := strings.Cut(line, ":")
		if !found || name == "" {
			return nil, usage("-H %q is not of the form 'Name: value'", line)
		}
		q.Header.Add(name, strings.TrimSpace(value))
		params.Add("header", line)
	}
	if f.client != "" {
		if _, err := netip.ParseAddr(f.client); err != nil {
			return nil, usage("--client %q is not an IP address", f.client)
		}
		params.Set("client", f.client)
	}
	if err := q.Check(); err != nil {
		return nil, usage("%w", err)
	}
	return params, nil
}

// refused says why a node did not explain.
func (f *explainFlags) refused(status int, body []byte) error {
	var problem struct{ Error string }
	text := strings.TrimSpace(string(body))
	if json.Unmarshal(body, &problem) == nil && problem.Error != "" {
		text = problem.Error
	}
	switch status {
	case http.StatusBadRequest:
		return usage("%s", text)
	case http.StatusNotFound:
		return errors.New("the node at " + f.addr + " cannot explain: it is of an older version")
	}
	return fmt.Errorf("the node answered %d: %s", status, text)
}
