package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"perigee/admin"
	"perigee/config"
)

// reload reads the configuration again and puts it into force, all of it or
// nothing. What is stored stays.
func (n *node) reload(context.Context) admin.ReloadResult {
	n.change.Lock()
	defer n.change.Unlock()
	changed, err := n.apply()
	result := admin.ReloadResult{OK: err == nil, Changed: changed, At: now()}
	if err != nil {
		result.Errors = errorLines(err)
		result.Message = "The new configuration was not taken; the old one goes on serving."
		n.log.Error("reload refused; the old configuration goes on serving", "problems", len(result.Errors))
		for _, each := range result.Errors {
			n.log.Error("configuration: " + each)
		}
		return result
	}
	result.Message = "The new configuration is in force."
	n.log.Info("reloaded", "changed", strings.Join(changed, ", "), "sites", len(n.conf.Sites))
	return result
}

// apply loads, prepares and installs. Everything that can fail comes before the
// first thing that is changed.
func (n *node) apply() (changed []string, err error) {
	if n.draining.Load() || !n.up.Load() {
		return nil, errors.New("the node is starting or stopping")
	}
	conf, err := n.load()
	if err != nil {
		return nil, err
	}
	if fixed := config.Diff(n.conf, conf); len(fixed) > 0 {
		return nil, fmt.Errorf("%s cannot change while perigee runs: restart it, or put the old value back", strings.Join(fixed, ", "))
	}
	next, err := n.prepare(conf)
	if err != nil {
		return nil, err
	}
	if err := n.listeners.Rebind(conf.Listen.HTTP, conf.Listen.HTTPS); err != nil {
		if next.log != n.records.log.Load() && next.log != nil {
			_ = next.log.Close()
		}
		return nil, err
	}
	changed = differences(n.conf, conf)
	n.install(conf, next)
	return changed, nil
}

// install swaps in what was prepared.
func (n *node) install(conf *config.Node, next *served) {
	old := n.served
	n.certs.Replace(next.certs.snapshot)
	n.listeners.SetLimits(listenerLimits(conf.Limits))
	n.handler.Swap(next.sites, edgeLimits(conf.Limits))
	n.purging.swap(conf)
	if n.admin != nil {
		n.admin.Metrics().SetSites(siteNames(conf))
	}
	n.level.Set(conf.Log.Level)
	if before := n.records.log.Swap(next.log); before != nil && before != next.log {
		_ = before.Close()
		n.lostBefore.Add(before.Dropped())
	}
	n.conf, n.served = conf, next
	for _, warning := range next.certs.warnings {
		n.log.Warn(warning)
	}
	if old == nil {
		return
	}
	for name, pool := range old.pools {
		if next.pools[name] != pool {
			pool.Close()
		}
	}
}

func siteNames(conf *config.Node) []string {
	names := make([]string, len(conf.Sites))
	for i, site := range conf.Sites {
		names[i] = site.Name
	}
	return names
}

// differences says in words what a reload changes.
func differences(old, next *config.Node) []string {
	changed := []string{}
	if !slices.Equal(old.Listen.HTTP, next.Listen.HTTP) || !slices.Equal(old.Listen.HTTPS, next.Listen.HTTPS) ||
		!slices.Equal(old.Listen.TrustedProxies, next.Listen.TrustedProxies) {
		changed = append(changed, "listen")
	}
	if old.Limits != next.Limits {
		changed = append(changed, "limits")
	}
	if old.Log != next.Log {
		changed = append(changed, "log")
	}
	if !slices.Equal(old.Geo.Databases, next.Geo.Databases) {
		changed = append(changed, "geo")
	}
	before := make(map[string]*config.Site)
	for _, site := range old.Sites {
		before[site.Name] = site
	}
	for _, site := range next.Sites {
		was, known := before[site.Name]
		delete(before, site.Name)
		switch {
		case !known:
			changed = append(changed, "site "+site.Name+" added")
		case !reflect.DeepEqual(was, site):
			changed = append(changed, "site "+site.Name)
		}
	}
	for name := range before {
		changed = append(changed, "site "+name+" removed")
	}
	slices.Sort(changed)
	return changed
}

// errorLines is an error as the operator should read it, one problem a line or
// block.
func errorLines(err error) []string {
	var problems *config.Errors
	if errors.As(err, &problems) {
		lines := make([]string, len(problems.Problems))
		for i, problem := range problems.Problems {
			lines[i] = problem.String()
		}
		return lines
	}
	return strings.Split(err.Error(), "\n")
}
