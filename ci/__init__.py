"""What the workflows of GitHub and GitLab share: every job whose script would take more than a line."""
