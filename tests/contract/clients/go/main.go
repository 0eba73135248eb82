// Prints what agollo sees of each namespace, at first and after each change.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/apolloconfig/agollo/v5"
	"github.com/apolloconfig/agollo/v5/env/config"
	"github.com/apolloconfig/agollo/v5/storage"
)

type listener struct{}

func (listener) OnChange(event *storage.ChangeEvent) {}

func (listener) OnNewestChange(event *storage.FullChangeEvent) {
	show(event.Namespace, event.Changes)
}

var printing sync.Mutex

func show(namespace string, found map[string]interface{}) {
	values := map[string]string{}
	for key, value := range found {
		values[key] = fmt.Sprint(value)
	}
	line, err := json.Marshal(map[string]interface{}{"namespace": namespace, "values": values})
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}

func main() {
	namespaces := os.Getenv("NAMESPACES")
	client, err := agollo.StartWithConfig(func() (*config.AppConfig, error) {
		return &config.AppConfig{
			AppID:            os.Getenv("APP_ID"),
			Cluster:          os.Getenv("CLUSTER"),
			NamespaceName:    namespaces,
			IP:               os.Getenv("SERVER"),
			Secret:           os.Getenv("SECRET"),
			IsBackupConfig:   true,
			BackupConfigPath: os.Getenv("CACHE_DIR"),
		}, nil
	})
	if err != nil {
		panic(err)
	}
	client.AddChangeListener(listener{})
	for _, namespace := range strings.Split(namespaces, ",") {
		values := map[string]interface{}{}
		if cache := client.GetConfigCache(namespace); cache != nil {
			cache.Range(func(key, value interface{}) bool {
				values[key.(string)] = value
				return true
			})
		}
		show(namespace, values)
	}
	select {}
}
