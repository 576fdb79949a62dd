package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"perigee/config"
)

func newProxy() *cobra.Command {
	var o config.ProxyOptions
	cmd := &cobra.Command{
		Use:   "proxy --to URL",
		Short: "Cache in front of one server; no configuration file needed",
		Long: `proxy listens, sends what it cannot answer to the server at --to, and keeps what
that server's responses allow to be kept. It takes every host name. Cache-Status
in each response says what the cache did.`,
		Example: `  perigee proxy --to http://localhost:3000
  perigee proxy --to https://www.example.com --listen 127.0.0.1:8080 --ram 2GiB
  perigee proxy --to http://localhost:3000 --listen-tls :8443          a self-signed certificate
  perigee proxy --to http://localhost:3000 --listen-tls :443 --cert full.pem --key key.pem`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.To == "" {
				return usage("proxy needs --to: the URL of the server to cache, such as --to http://localhost:3000")
			}
			conf, err := config.Proxy(o)
			if err != nil {
				return &exitCode{code: exitUsage, err: err}
			}
			return serve(cmd.Context(), conf, nil)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.To, "to", "", "`URL` of the server to cache")
	f.StringSliceVar(&o.Listen, "listen", nil, "`address` for HTTP (default :8080)")
	f.StringSliceVar(&o.ListenTLS, "listen-tls", nil, "`address` for HTTPS, HTTP/1.1 and HTTP/2 (default none)")
	f.StringVar(&o.Cert, "cert", "", "certificate chain, a PEM `file` (default self-signed)")
	f.StringVar(&o.Key, "key", "", "key of the certificate, a PEM `file`")
	f.StringVar(&o.Host, "host", "", "Host sent to the server: upstream (that of --to), client (what the client asked for) or a `name` (default upstream)")
	f.StringVar(&o.RAM, "ram", "", "memory for stored responses, a `size` (default 256MiB)")
	f.StringVar(&o.Disk, "disk", "", "`folder` in which stored responses outlive the process (default none)")
	f.StringVar(&o.DiskSize, "disk-size", "", "`size` of the folder at most (default 10GiB)")
	f.StringVar(&o.Admin, "admin", "", "`address` for metrics and health, or off (default 127.0.0.1:9180)")
	f.StringVar(&o.PurgeTokenFile, "purge-token-file", "", "`file` with the token for purges (not available in this version)")
	return cmd
}

func newRun() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Serve the sites of a configuration",
		Long: `run serves the sites that the node file names, until SIGTERM or SIGINT, which let
running responses finish. SIGHUP and ` + "`perigee reload`" + ` read the configuration again;
if it is invalid the old one goes on serving.`,
		Example: `  perigee run --config /etc/perigee/perigee.yaml`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Node, error) { return config.Load(file, os.LookupEnv) }
			conf, err := load()
			if err != nil {
				return &exitCode{code: exitInvalid, err: err}
			}
			return serve(cmd.Context(), conf, load)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

// configFlag is the flag by which commands are told of a node file.
func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "perigee.yaml", "node `file`")
}

// serve runs a node until a signal ends it. load reads the configuration again,
// nil if there is no file to read.
func serve(ctx context.Context, conf *config.Node, load func() (*config.Node, error)) error {
	limitMemory(conf.Store.RAM)
	// Before anything is announced: a signal may come right after.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	n, err := start(conf, load, os.Stdout, os.Stderr)
	if err != nil {
		return err
	}
	// net/http complains of some clients and upstreams through the global logger.
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(n.log.Handler(), slog.LevelDebug).Writer())
	n.announce(os.Stderr)
	n.change.Lock()
	status := n.status()
	n.change.Unlock()
	n.supervisor.ready(status)
	for {
		select {
		case got := <-signals:
			if got == syscall.SIGHUP {
				n.hangUp(ctx)
				continue
			}
			n.log.Info("stopping: running responses may finish; once more to stop at once", "signal", got.String(), "within", drainTime.String())
			return n.finish(signals)
		case err := <-n.failed:
			return errors.Join(err, n.finish(signals))
		}
	}
}

// finish stops the node and lets running responses end, unless a second signal
// says that it takes too long.
func (n *node) finish(signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	n.supervisor.stopping()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.stop(ctx)
	}()
	for {
		select {
		case <-done:
			n.log.Info("stopped")
			return nil
		case again := <-signals:
			if again != syscall.SIGHUP {
				cancel()
				<-done
				return fmt.Errorf("stopped by a second %s: running responses were cut", again)
			}
		}
	}
}
