package main

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage/names"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// strategy is what the server does to an object of a kind before it is stored.
type strategy struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind kind
	// Whether it writes the status and nothing else.
	statusOnly bool
}

func (s strategy) NamespaceScoped() bool                                   { return s.kind.namespaced }
func (strategy) AllowCreateOnUpdate(context.Context) bool                  { return false }
func (strategy) AllowUnconditionalUpdate(context.Context) bool             { return true }
func (strategy) Canonicalize(runtime.Object)                               {}
func (strategy) WarningsOnCreate(context.Context, runtime.Object) []string { return nil }
func (strategy) WarningsOnUpdate(context.Context, runtime.Object, runtime.Object) []string {
	return nil
}

func (s strategy) PrepareForCreate(_ context.Context, object runtime.Object) {
	// Nodes bring their status along.
	if s.kind.status && s.kind.name != "Node" {
		part(object, "Status").SetZero()
	}
	if s.kind.prepare != nil {
		s.kind.prepare(object, nil)
	}
}

func (s strategy) PrepareForUpdate(_ context.Context, object, old runtime.Object) {
	if s.statusOnly {
		if spec := part(object, "Spec"); spec.IsValid() {
			spec.Set(part(old, "Spec"))
		}
		return
	}
	if s.kind.status {
		part(object, "Status").Set(part(old, "Status"))
	}
	if s.kind.prepare != nil {
		s.kind.prepare(object, old)
	}
}

func (s strategy) Validate(_ context.Context, object runtime.Object) field.ErrorList {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("metadata"), err)}
	}
	name := validation.NameIsDNSSubdomain
	switch s.kind.name {
	case "Namespace":
		name = validation.ValidateNamespaceName
	case "Service":
		name = validation.NameIsDNSLabel
	}
	errors := validation.ValidateObjectMetaAccessor(accessor, s.kind.namespaced, name, field.NewPath("metadata"))
	if s.kind.validate != nil {
		errors = append(errors, s.kind.validate(object, nil)...)
	}
	return errors
}

func (s strategy) ValidateUpdate(_ context.Context, object, old runtime.Object) field.ErrorList {
	if s.kind.validate != nil && !s.statusOnly {
		return s.kind.validate(object, old)
	}
	return nil
}

// GetResetFields tells which fields a writer never owns: those that the strategy takes from the old object.
func (s strategy) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	reset := "status"
	if s.statusOnly {
		reset = "spec"
	} else if !s.kind.status {
		return nil
	}
	version := fieldpath.APIVersion(s.kind.version.String())
	return map[fieldpath.APIVersion]*fieldpath.Set{version: fieldpath.NewSet(fieldpath.MakePathOrDie(reset))}
}
