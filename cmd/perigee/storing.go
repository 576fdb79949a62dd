package main

import (
	"fmt"
	"os"
	"path/filepath"

	"perigee/cachestore"
	"perigee/cachestore/disk"
	"perigee/cachestore/ram"
	"perigee/config"
)

// openStore makes the store: memory and, where the configuration names folders, the disk
// beneath it. The purges, without which nothing on disk may be served, are opened
// between the two.
func (n *node) openStore() error {
	budget := cachestore.NewBudget(n.conf.Store.RAM)
	tier, err := ram.New(budget)
	if err != nil {
		return fmt.Errorf("store.ram: %w", err)
	}
	o := cachestore.Options{Budget: budget, Home: tier}
	folders, state := n.disks()
	if n.purging, err = beginPurging(state); err != nil {
		return err
	}
	n.purging.away = state != n.conf.State
	if len(folders) > 0 {
		n.disk, err = disk.Open(disk.Options{
			Folders: folders, Budget: budget, Reserve: tier.Claim, MarksKey: n.purging.marksID(), Log: n.log, Now: now,
		})
		if err != nil {
			return fmt.Errorf("store.disk: %w", err)
		}
		o.Depot = n.disk
		n.purging.onDisk(n.disk.Oldest, n.disk.Newest)
	}
	n.store = cachestore.New(o)
	return n.purging.open(state, n.log)
}

// disks are the folders for stored responses and the folder for what must outlive the
// process. A folder that is both and cannot be written to is neither: without the purges
// of yesterday nothing from yesterday may be served.
func (n *node) disks() (folders []disk.Folder, state string) {
	state = n.conf.State
	for _, d := range n.conf.Store.Disks {
		folders = append(folders, disk.Folder{Path: d.Path, Size: d.Size})
	}
	if len(folders) == 0 || !within(state, n.conf.Store.Disks) {
		return folders, state
	}
	if err := canWrite(state); err != nil {
		n.log.Error("node.state cannot be used; nothing is kept on disk until it can be, and the node was started again",
			"folder", state, "error", err)
		return nil, ""
	}
	return folders, state
}

// within tells whether a path is that of one of the folders or below it.
func within(path string, folders []config.Disk) bool {
	for _, f := range folders {
		if rel, err := filepath.Rel(f.Path, path); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// canWrite tries to make a file in a folder, which is made if it is not there.
func canWrite(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(path, "try.*")
	if err != nil {
		return err
	}
	_ = file.Close()
	return os.Remove(file.Name())
}
