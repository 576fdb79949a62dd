package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perigee/config"
	"perigee/geo"
)

// version is the release that this source is of.
const version = "0.1.0"

// printJSON writes v for programs to read.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON, for programs")
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Example: "  perigee version --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": version, "revision": revision(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "perigee %s %s%s/%s %s\n", version, revision(), runtime.GOOS, runtime.GOARCH, runtime.Version())
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// revision is the commit that the binary was built from, with a space behind it,
// where the build knew.
func revision() string {
	info, _ := debug.ReadBuildInfo()
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			return setting.Value[:12] + " "
		}
	}
	return ""
}

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [node|site]",
		Short: "Print the JSON Schema of a configuration file, for editors",
		Long: `schema prints the JSON Schema of the node file or of a site file. Editors that
speak the YAML language server complete and check with it: save it beside the
files and begin them with

  # yaml-language-server: $schema=site.schema.json`,
		Example: "  perigee schema site > site.schema.json\n  perigee schema node > node.schema.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != string(config.NodeFile) && args[0] != string(config.SiteFile) {
				return usage("schema of which file? `perigee schema node` or `perigee schema site`")
			}
			return nil
		},
		ValidArgs: []string{string(config.NodeFile), string(config.SiteFile)},
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := cmd.OutOrStdout().Write(config.JSONSchema(config.FileKind(args[0])))
			return err
		},
	}
}

func newValidate() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate --config FILE",
		Short: "Check a configuration and the files that it names",
		Long: `validate reads the node file, its site files, secrets and certificates, and prints
every problem with its place and what to do. It opens no socket. Exit code 0 if
the configuration is valid, 3 if not.`,
		Example: "  perigee validate --config perigee.yaml\n  perigee validate --config perigee.yaml --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := config.Load(file, os.LookupEnv)
			if err == nil {
				err = errors.Join(checkCertificates(conf), checkPlaces(conf))
			}
			if asJSON {
				return validateJSON(cmd.OutOrStdout(), file, err)
			}
			if err != nil {
				return &exitCode{code: exitInvalid, err: err}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %s\n", file, countSites(conf))
			return nil
		},
	}
	configFlag(cmd, &file)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// checkCertificates reads the certificate files as a start would.
func checkCertificates(conf *config.Node) error {
	_, err := (&node{}).certificates(conf, now())
	return err
}

// checkPlaces opens the databases of places as a start would.
func checkPlaces(conf *config.Node) error {
	if _, err := geo.OpenCountries(conf.Geo.Databases); err != nil {
		return fmt.Errorf("geo.databases: %w", err)
	}
	return nil
}

func countSites(conf *config.Node) string {
	if len(conf.Sites) == 1 {
		return "1 site, " + conf.Sites[0].Name
	}
	return fmt.Sprintf("%d sites", len(conf.Sites))
}

func validateJSON(w io.Writer, file string, err error) error {
	out := struct {
		File     string           `json:"file"`
		Valid    bool             `json:"valid"`
		Problems []config.Problem `json:"problems"`
	}{File: file, Valid: err == nil, Problems: []config.Problem{}}
	var problems *config.Errors
	switch {
	case errors.As(err, &problems):
		out.Problems = problems.Problems
	case err != nil:
		for _, line := range strings.Split(err.Error(), "\n") {
			out.Problems = append(out.Problems, config.Problem{File: file, Message: line})
		}
	}
	if perr := printJSON(w, out); perr != nil {
		return perr
	}
	if err != nil {
		return &exitCode{code: exitInvalid, silent: true, err: err}
	}
	return nil
}

// operator is how the commands that talk to a running node reach it.
type operator struct{ addr, tokenFile string }

func (o *operator) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.addr, "admin", "127.0.0.1:9180", "operator's `address` of the node")
	cmd.Flags().StringVar(&o.tokenFile, "token-file", "", "`file` with the admin token")
}

// request makes a request to the node, with the token if there is one.
func (o *operator) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	addr := o.addr
	if host, port, err := net.SplitHostPort(addr); err == nil && host == "" {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, body)
	if err != nil {
		return nil, usage("--admin %q is not an address such as 127.0.0.1:9180", o.addr)
	}
	if o.tokenFile != "" {
		token, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	return r, nil
}

// unanswered says that a request got no answer.
func (o *operator) unanswered(err error) error {
	return fmt.Errorf("no answer from a node at %s: %w (is it running, and is this its listen.admin?)", o.addr, err)
}

// ask sends one request to the node and returns the status and the body. within bounds
// how long it takes, 0 = it may take for ever.
func (o *operator) ask(ctx context.Context, method, path string, within time.Duration) (int, []byte, error) {
	if within > 0 {
		bounded, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		ctx = bounded
	}
	r, err := o.request(ctx, method, path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0, nil, o.unanswered(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

func newHealthcheck() *cobra.Command {
	var o operator
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running node whether it should be sent requests",
		Long:  "healthcheck asks the node's /readyz. Exit code 0 if it is ready, 1 if it is draining or does not answer.",
		Example: `  perigee healthcheck
  perigee healthcheck --admin 127.0.0.1:9181`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, body, err := o.ask(cmd.Context(), http.MethodGet, "/readyz", 5*time.Second)
			text := strings.TrimSpace(string(body))
			if asJSON && err == nil {
				if perr := printJSON(cmd.OutOrStdout(), map[string]any{"ready": status == http.StatusOK, "detail": text}); perr != nil {
					return perr
				}
			}
			switch {
			case err != nil:
				return err
			case status != http.StatusOK:
				return &exitCode{code: exitError, silent: asJSON, err: fmt.Errorf("not ready: %s", text)}
			case !asJSON:
				fmt.Fprintln(cmd.OutOrStdout(), "ready")
			}
			return nil
		},
	}
	o.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newReload() *cobra.Command {
	var o operator
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running node read its configuration again",
		Long: `reload tells what changed. If the new configuration is invalid it prints every
problem, and the old one goes on serving; the exit code is then 3. What is stored
stays either way.`,
		Example: "  perigee reload\n  perigee reload --admin 10.0.0.7:9180 --token-file admin.token",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, body, err := o.ask(cmd.Context(), http.MethodPost, "/v1/reload", time.Minute)
			if err != nil {
				return err
			}
			if asJSON {
				if _, err := cmd.OutOrStdout().Write(body); err != nil {
					return err
				}
			}
			return reloadOutcome(cmd.OutOrStdout(), status, body, asJSON)
		},
	}
	o.flags(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// reloadOutcome prints what a node said of a reload and turns it into an exit code.
func reloadOutcome(w io.Writer, status int, body []byte, asJSON bool) error {
	var result struct {
		Changed, Errors []string
		Message         string
	}
	known := json.Unmarshal(body, &result) == nil
	switch {
	case status == http.StatusOK:
		if !asJSON {
			fmt.Fprintln(w, result.Message)
			for _, each := range result.Changed {
				fmt.Fprintln(w, "  changed:", each)
			}
		}
		return nil
	case status == http.StatusUnprocessableEntity && known:
		return &exitCode{code: exitInvalid, silent: asJSON, err: fmt.Errorf("%s\n%s", result.Message, strings.Join(result.Errors, "\n"))}
	default:
		return &exitCode{code: exitError, silent: asJSON, err: fmt.Errorf("the node answered %d: %s", status, strings.TrimSpace(string(body)))}
	}
}
