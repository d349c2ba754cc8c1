// SPDX-License-Identifier: GPL-2.0

// Loads the AppArmor profile that containerd gives to the containers of Kubernetes whose manifest
// asks for no other.  The rest of this program is containerd's own template.go, which makes the
// profile, as AppArmor is installed, and has apparmor_parser load it.
package main

import (
	"log"
	"os"
)

func try(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	profile, err := loadData("cri-containerd.apparmor.d")
	try(err)
	file, err := os.CreateTemp("", "profile")
	try(err)
	try(generate(profile, file))
	try(load(file.Name()))
	try(os.Remove(file.Name()))
}
