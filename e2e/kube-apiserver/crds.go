package main

import (
	"slices"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/informers/externalversions"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// listGroups keeps the groups of custom resources in the answer to GET /apis, for clients that do not ask for the
// aggregated form of it. In a cluster that is the aggregator's task.
func listGroups(api *server.GenericAPIServer, informers externalversions.SharedInformerFactory) error {
	definitions := informers.Apiextensions().V1().CustomResourceDefinitions()
	var mutex sync.Mutex
	listed := sets.New[string]()
	sync := func(any) {
		mutex.Lock()
		defer mutex.Unlock()
		all, err := definitions.Lister().List(labels.Everything())
		if err != nil {
			klog.ErrorS(err, "The definitions cannot be listed")
			return
		}
		groups := map[string]sets.Set[string]{}
		for _, definition := range all {
			if !apihelpers.IsCRDConditionTrue(definition, apiextensionsv1.Established) {
				continue
			}
			for _, served := range definition.Spec.Versions {
				if served.Served {
					name := definition.Spec.Group
					groups[name] = groups[name].Union(sets.New(served.Name))
				}
			}
		}
		for name, versions := range groups {
			newestFirst := slices.SortedFunc(slices.Values(versions.UnsortedList()), func(a, b string) int {
				return version.CompareKubeAwareVersionStrings(b, a)
			})
			api.DiscoveryGroupManager.AddGroup(apiGroup(name, newestFirst))
			listed.Insert(name)
		}
		for _, name := range listed.UnsortedList() {
			if _, served := groups[name]; !served {
				api.DiscoveryGroupManager.RemoveGroup(name)
				listed.Delete(name)
			}
		}
	}
	_, err := definitions.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    sync,
		UpdateFunc: func(_, object any) { sync(object) },
		DeleteFunc: sync,
	})
	return err
}
