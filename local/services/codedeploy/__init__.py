"""CodeDeploy: traffic shifts between function versions."""
